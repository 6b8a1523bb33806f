"""Features: vectors that something else has computed, a token each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from locomt.nn.fields import LONG
from locomt.nn.modalities.base import ModalitySpec

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class FeatureSpec(ModalitySpec):
    """A sequence of feature vectors `[B, time, dim]`, a token each.

    Attributes:
        standardise: take every number of a vector less its mean, and over its standard deviation, in the training data.
    """

    kind: ClassVar[str] = "features"
    most: ClassVar[Mapping[str, int]] = {"dim": LONG, "max_length": LONG}
    dim: int
    max_length: int
    standardise: bool = False

    @property
    def standardised(self) -> int:
        return self.dim if self.standardise else 0

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def max_steps(self) -> int:
        return self.max_length

    @property
    def inputs_per_token(self) -> int:
        return self.dim

    def projection(self, dim: int) -> nn.Module:
        return Vectors(self, dim)

    def example_input(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        return torch.randn(batch, self.max_length, self.dim, device=device)


class Vectors(nn.Module):
    """`[B, T, dim]` feature vectors to a token each."""

    def __init__(self, spec: FeatureSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.project = nn.Linear(spec.dim, dim)

    def forward(self, features: Float[Tensor, "batch time features"]) -> Tensor:
        if features.ndim != 3 or features.shape[2] != self.spec.dim:
            raise ValueError(f"expected features [batch, time, {self.spec.dim}], got {list(features.shape)}")
        return self.project(features)  # type: ignore[no-any-return]
