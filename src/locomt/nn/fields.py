"""What the fields of configurations may hold: values of their types, finite numbers, sizes within reason.

A configuration may come from anybody, so that nothing is made of it before this has looked at it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from locomt.require import require

LARGEST = 2**63 - 1
"""Of whole numbers: what torch counts with."""
LONG, WIDE = 2**24, 2**16
"""The most steps in time and the most features of anything that goes in, far beyond what has been trained."""
MOST_PARAMETERS = 2**42
"""A few times those of the largest models that were ever trained: 16 TiB in float32."""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def _number(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


TYPES = {
    "int": _whole,
    "float": _number,
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "tuple[str, ...]": lambda value: isinstance(value, list | tuple) and all(isinstance(part, str) for part in value),
    "tuple[float, ...]": lambda value: isinstance(value, list | tuple) and all(map(_number, value)),
    "dict[str, float]": lambda value: isinstance(value, Mapping) and all(map(_number, value.values())),
    "Mapping[str, float]": lambda value: isinstance(value, Mapping) and all(map(_number, value.values())),
    "Mapping[str, Any]": lambda value: isinstance(value, Mapping),
    "Mapping[str, ModalitySpec]": lambda value: isinstance(value, Mapping),
}
"""The types that fields are declared with -> whether a value is of it."""


def check_types(section: Any, where: str = "") -> None:
    """Raises `ConfigError` at the first field of a dataclass whose value is not of the declared type."""
    for field in fields(section):
        value = getattr(section, field.name)
        kind, _, none = str(field.type).partition(" | ")
        if value is None and none:
            continue
        require(TYPES[kind](value), f"{where}{field.name}: expected {kind}, got {value!r:.60}")


def check_sizes(owner: object, where: str, **most: int) -> None:
    """Raises `ConfigError` at the first of these fields that is below 1, or beyond what any machine holds."""
    for name, limit in most.items():
        value = getattr(owner, name)
        require(value >= 1, f"{where}{name}: expected 1 or more, got {value}")
        require(value <= limit, f"{where}{name}: expected at most {limit:,}, got {value:,}: that fits no machine")
