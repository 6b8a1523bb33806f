"""What training minimises, one loss a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from locomt.data import IGNORED
from locomt.train import ranks

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


def task_loss(
    task: str,
    logits: Float[Tensor, "batch *steps outputs"],
    labels: Shaped[Tensor, "batch *rest"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """The mean loss over the samples, or over the real steps where labels belong to steps.

    Cross-entropy for `multiclass` (as in the paper), binary cross-entropy for `multilabel` and `temporal`, squared
    error for `regression`. Smoothing s turns a target y into (1 - s) y + s / K, K being the number of classes (for
    multilabel targets too, as the AudioSet recipe of MBT has it).

    Multiclass labels are indices or, where they are floating-point numbers of the shape of `logits`, probabilities;
    multilabel targets may lie between 0 and 1: mixed samples have such labels.
    """
    logits = logits.float()  # under bf16 autocast the loss itself stays in 32 bits
    if task == "multiclass":
        if labels.is_floating_point():
            return cross_entropy(logits, labels, label_smoothing=smoothing)
        return cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)
    if task == "multilabel":
        targets = labels * (1 - smoothing) + smoothing / labels.shape[-1]
        return binary_cross_entropy_with_logits(logits, targets)
    real = ~labels.isnan()
    if task == "temporal":
        targets = labels * (1 - smoothing) + smoothing / labels.shape[-1]
        return binary_cross_entropy_with_logits(logits[real], targets[real])
    return mse_loss(logits[real], labels[real])


def answers(labels: Shaped[Tensor, "batch *rest"]) -> int:
    """How many samples, or real steps where labels belong to steps, `task_loss` is the mean over."""
    if labels.is_floating_point():
        return int((~labels.isnan()).any(dim=-1).sum())
    return int((labels != IGNORED).sum())


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
