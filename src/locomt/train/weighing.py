"""How much each modality counts in the answer, by the validation split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from locomt import ranks
from locomt.nn.readout import ReadOut, weight
from locomt.tasks import Task
from locomt.train.few_numbers import lowest

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


class Weighing:
    """Gathers what each modality gives the head to read of a split, and finds the shares that answer it best.

    On training data a model is sure of whatever it has learned by heart, so that they do not tell which modality to
    believe: the shares come from data that no weight was fitted to (stacking: Wolpert, 1992). They are as many numbers
    as there are modalities, and cost nothing at inference.

    Args:
        task: whose loss is to be low.
        names: of the modalities that the head reads.
        head: of the model.
    """

    def __init__(self, task: Task, names: Sequence[str], head: nn.Linear) -> None:
        self.task, self.names, self.head = task, tuple(names), head
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def add(self, reads: Mapping[str, ReadOut], labels: Shaped[Tensor, "batch *rest"]) -> None:
        """Take in a batch."""
        like = next(iter(reads.values())).values
        logits, there = [], []
        for name in self.names:
            if name in reads:
                logits.append(linear(reads[name].values, self.head.weight).float())
                there.append(weight(reads[name], 1.0).float())
            else:
                logits.append(like.new_zeros(*like.shape[:2], self.head.out_features, dtype=torch.float32))
                there.append(like.new_zeros(*like.shape[:2], 1, dtype=torch.float32))
        self.batches.append((torch.stack(logits), torch.stack(there), labels))

    @torch.inference_mode(False)
    def fit(self) -> dict[str, float]:
        """The shares of the lowest loss, whose mean is 1; all processes together. Without any sample none.

        A normal prior on their logarithms, worth one sample, keeps what makes no difference at 1.
        """
        samples = sum(self.task.count(labels) for *_, labels in self.batches)
        total = int(ranks.total(torch.tensor(float(samples), device=self.head.weight.device)))
        if not total:
            return {}
        batches = [tuple(part.clone() for part in batch) for batch in self.batches]
        bias = self.head.bias.detach().clone()

        def losses(raw: Tensor) -> Iterator[Tensor]:
            for logits, there, labels in batches:
                if count := self.task.count(labels):
                    yield count * self.task.loss(_mixed(logits, there, _shares(raw), bias, self.task), labels)

        raw, _ = lowest(torch.zeros(len(self.names), device=bias.device), losses, total, prior=1.0)
        found = _shares(raw).tolist()
        # Never 0: a sample may have that modality alone.
        return {name: max(1e-4, round(share, 4)) for name, share in zip(self.names, found, strict=True)}

    def answers(self, shares: Mapping[str, float]) -> Iterator[tuple[Float[Tensor, "batch *steps outputs"], Tensor]]:
        """The logits and the labels of every batch."""
        counts = [shares.get(name, 1.0) for name in self.names]
        for logits, there, labels in self.batches:
            yield _mixed(logits, there, logits.new_tensor(counts), self.head.bias.float(), self.task), labels


def _shares(raw: Tensor) -> Tensor:
    return len(raw) * raw.softmax(dim=0)


def _mixed(logits: Tensor, there: Tensor, shares: Tensor, bias: Tensor, task: Task) -> Tensor:
    weights = there * shares[:, None, None, None]
    total = weights.sum(dim=0)
    mean = (logits * weights).sum(dim=0) / torch.where(total > 0, total, torch.ones_like(total))
    answer = mean + bias
    return answer if task.stepwise or task.in_time else answer[:, 0]
