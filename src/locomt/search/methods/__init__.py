"""The methods of `locomt search`. Each is a module."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

METHODS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "strategies": ("seeds",),
        "random": ("seeds", "tables", "one_way"),
        "mass": ("seeds", "one_way", "finetune", "source"),
        "evolutionary": ("seeds", "tables", "one_way", "storage"),
        "bayesian": ("seeds", "tables", "one_way", "storage"),
        "elastic": ("seeds", "tables", "epochs", "finetune", "source"),
        "learned": ("seeds", "one_way", "finetune"),
    }
)
"""Method -> the options of `Question` that it takes. A method is a module of its name here, with a function
`run(work: Work) -> None`. It is imported only when it is used: some methods need packages that others do not."""
