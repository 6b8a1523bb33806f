"""The loss of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from locomt import ranks

if TYPE_CHECKING:
    from jaxtyping import Float


class MeanLoss:
    """The mean loss over the samples of an epoch, of all processes together.

    Attributes:
        sums: float64 `[2]`: losses times samples and samples, of this process; what a checkpoint has to keep.
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64)

    def update(self, loss: Float[Tensor, ""], samples: int) -> None:
        """Take in the mean over a batch."""
        loss = loss.detach().double()
        self.sums = self.sums.to(loss.device) + torch.stack([loss * samples, torch.full_like(loss, samples)])

    def compute(self) -> float | None:
        """The mean, None of no samples; and begin anew."""
        losses, samples = ranks.total(self.sums).tolist()
        self.sums = torch.zeros_like(self.sums)
        return losses / samples if samples else None
