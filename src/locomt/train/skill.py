"""What an answer tells of a split that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from locomt import ranks
from locomt.tasks import Task
from locomt.train.few_numbers import joined, lowest

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

Constants = dict[tuple[float, ...], tuple[Tensor, float]]

CHANCE = 4.0
"""Samples' worth of loss that an answer of noise may gain by the number that is fitted to it."""


class Skill:
    """Gathers answers to a split, and says by how much of its loss they beat the best constant answer.

    A skill score of forecasts, 1 - loss / loss of the constant (Murphy, Monthly Weather Review 1988). Both answers are
    the best of their kind on the split: a constant, and the constant and a multiple of the answer. So it makes no
    difference how sure an answer is, or around what it lies; a model that was never trained to answer so is right in
    neither. What a number that is fitted to noise would gain is taken off.

    Args:
        task: whose loss it is.
        head: of the model that answers.
        constants: what is known of the best constants: by what the labels are, the numbers and their loss.
    """

    def __init__(self, task: Task, head: nn.Linear, constants: Constants | None = None) -> None:
        self.task, self.head = task, head
        self.constants: Constants = {} if constants is None else constants
        self.batches: list[tuple[Tensor, Tensor]] = []

    def add(self, logits: Float[Tensor, "batch *steps outputs"], labels: Shaped[Tensor, "batch *rest"]) -> None:
        """Take in a batch."""
        if self.task.count(labels):
            self.batches.append((logits.detach().float(), labels))

    @torch.inference_mode(False)
    def measure(self) -> float:
        """From 0, nothing, to 1, all; of all processes, each of which has to call it. The split is forgotten."""
        batches = joined(self.batches)
        self.batches.clear()
        outputs = self.head.out_features
        sums = torch.zeros(6, outputs, dtype=torch.float64, device=self.head.weight.device)
        for logits, labels in batches:
            rows = logits.double().flatten(0, -2)
            told = (self.task.count(labels), len(rows), *_fingerprint(labels))
            counts = (torch.full_like(rows[0], float(number)) for number in told)
            sums += torch.stack([*counts, rows.sum(dim=0), rows.square().sum(dim=0)])
        sums = ranks.total(sums)
        key = tuple(sums[:4, 0].tolist())
        samples, rows, *_, mean, square = sums
        mean, total = mean / rows, int(samples[0])
        spread = (square / rows - mean.square()).clamp(min=0).mean().sqrt().float()
        if not total or not spread > 0:
            return 0.0

        def losses(numbers: Tensor) -> Iterator[Tensor]:
            constant, times = numbers[:outputs], numbers[outputs:].sum()  # of none 0
            for logits, labels in batches:
                answer = constant + times * (logits - mean.float()) / spread
                yield self.task.count(labels) * self.task.loss(answer, labels)

        if key not in self.constants:  # the split is the same in every epoch, and mostly of every modality
            self.constants[key] = lowest(torch.zeros(outputs, device=mean.device), losses, total)
        constant, blind = self.constants[key]
        numbers, loss = lowest(torch.cat([constant, constant.new_zeros(1)]), losses, total)
        if not blind > 0 or numbers[-1] <= 0:  # an answer that is right the other way round tells nothing
            return 0.0
        return max(0.0, 1 - loss / blind - CHANCE / total)


def _fingerprint(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Two sums that differ for other labels, by the angles that a label and its place in a row make."""
    known = labels.double().nan_to_num(nan=-1.0)
    places = torch.arange(known.shape[-1] if known.dim() > 1 else 1, device=known.device)
    angles = known * math.sqrt(2) + places
    return angles.sin().sum(), angles.cos().sum()
