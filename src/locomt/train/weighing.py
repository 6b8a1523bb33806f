"""How much each modality counts in the answer, by the validation split."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from locomt import ranks
from locomt.nn.model import Apart
from locomt.nn.readout import ReadOut, weight
from locomt.tasks import Task
from locomt.train.few_numbers import joined, lowest

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

LEAST = 1e-4
"""The least share, never 0: a sample may have that modality alone."""


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
        """Take in a batch: what the modalities give to read all together."""
        self._add(self._said(reads), reads, labels)

    @torch.no_grad()
    def add_apart(self, apart: Apart, labels: Shaped[Tensor, "batch *rest"]) -> None:
        """Take in a batch: what the model answers to each modality with the others missing."""
        said = {name: torch.zeros_like(one) for name, one in self._said(apart.reads).items()}
        for name, answer in apart.alone.items():
            one = (answer.logits - self.head.bias).float()
            samples = slice(None) if answer.samples is None else answer.samples.to(one.device)
            said[name][samples] = one if self._many else one[:, None]
        self._add(said, apart.reads, labels)

    @property
    def _many(self) -> bool:
        """Whether a sample has an answer at each step."""
        return self.task.stepwise or self.task.in_time

    def _said(self, reads: Mapping[str, ReadOut]) -> dict[str, Tensor]:
        return {name: linear(read.values, self.head.weight).float() for name, read in reads.items()}

    def _add(self, said: Mapping[str, Tensor], reads: Mapping[str, ReadOut], labels: Tensor) -> None:
        there = {name: weight(read, 1.0).float() for name, read in reads.items()}
        self.batches.append((self._stacked(said), self._stacked(there), labels))

    def _stacked(self, values: Mapping[str, Tensor]) -> Tensor:
        """Of all modalities, 0 of those that the batch lacks."""
        lacking = torch.zeros_like(next(iter(values.values())))
        return torch.stack([values.get(name, lacking) for name in self.names])

    @torch.inference_mode(False)
    def fit(self, among: Collection[str] | None = None) -> dict[str, float]:
        """The shares of the lowest loss, whose mean is 1; all processes together. Without any sample none.

        Where it makes no other difference how sure an answer is, that is left free: noise mixed in would else lower
        the loss of one that is too sure. A normal prior on the logarithms, worth one sample, keeps what makes no
        difference at 1.

        Args:
            among: those that are to count; the others do where a sample has nothing else. All, if left out.
        """
        samples = sum(self.task.count(labels) for *_, labels in self.batches)
        total = int(ranks.total(torch.tensor(float(samples), device=self.head.weight.device)))
        if not total:
            return {}
        batches = joined(self.batches, (1, 1, 0))
        bias, free = self.head.bias.detach().clone(), float(self.task.scale_free)
        counts = torch.tensor([among is None or name in among for name in self.names], device=bias.device)

        def shares(raw: Tensor) -> Tensor:
            return len(raw) * raw.masked_fill(~counts, -math.inf).softmax(dim=0)

        def losses(raw: Tensor) -> Iterator[Tensor]:
            for logits, there, labels in batches:
                if count := self.task.count(labels):
                    said = (free * raw[-1]).exp() * logits
                    answer = _mixed(said, there, shares(raw[:-1]).clamp(min=LEAST), bias, self.task)
                    yield count * self.task.loss(answer, labels)

        raw, _ = lowest(torch.zeros(len(self.names) + 1, device=bias.device), losses, total, prior=1.0)
        return {n: max(LEAST, round(s, 4)) for n, s in zip(self.names, shares(raw[:-1]).tolist(), strict=True)}

    def answers(self, shares: Mapping[str, float]) -> Iterator[tuple[Float[Tensor, "batch *steps outputs"], Tensor]]:
        """The logits and the labels of every batch."""
        counts = [shares.get(name, 1.0) for name in self.names]
        for logits, there, labels in self.batches:
            yield _mixed(logits, there, logits.new_tensor(counts), self.head.bias.float(), self.task), labels


def _mixed(logits: Tensor, there: Tensor, shares: Tensor, bias: Tensor, task: Task) -> Tensor:
    weights = there * shares[:, None, None, None]
    total = weights.sum(dim=0)
    mean = (logits * weights).sum(dim=0) / torch.where(total > 0, total, torch.ones_like(total))
    answer = mean + bias
    return answer if task.stepwise or task.in_time else answer[:, 0]
