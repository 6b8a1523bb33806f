"""Weights of which every modality has its own, or all share one set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from locomt.views import ViewError

if TYPE_CHECKING:
    from jaxtyping import Float

Streams = dict[str, "Float[Tensor, 'batch tokens dim']"]
"""The tokens of every modality, in the order of the layout; a modality that the batch lacks has 0 tokens."""


class PerModality(nn.ModuleDict):
    """One module a modality, or one for all of them.

    Raises:
        ViewError: a modality has the name of an attribute of `torch.nn.ModuleDict`, such as `type`.
    """

    def __init__(self, modalities: Iterable[str], make: Callable[[str], nn.Module], *, shared: bool = False) -> None:
        names = tuple(modalities)
        if taken := [name for name in names if hasattr(nn.ModuleDict, name)]:
            raise ViewError(f"modality {taken[0]!r} cannot be used: torch.nn.ModuleDict has that attribute already")
        super().__init__({name: make(name) for name in (("shared",) if shared else names)})
        self.is_shared = shared

    def of(self, modality: str) -> nn.Module:
        """The module that serves a modality."""
        return self["shared" if self.is_shared else modality]

    def forward(self, streams: Streams) -> Streams:
        """Apply each modality's module to its tokens."""
        return {name: self.of(name)(tokens) for name, tokens in streams.items()}
