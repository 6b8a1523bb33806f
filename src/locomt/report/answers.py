"""What a model answered to each sample of a split, and what would have been right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from locomt.data import Batch
from locomt.tasks import Task

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped


class Rows(NamedTuple):
    """All answers in a row.

    Attributes:
        logits, labels: of each answer.
        samples: to which sample each belongs.
    """

    logits: Float[Tensor, "rows outputs"]
    labels: Shaped[Tensor, "rows *rest"]
    samples: Int[Tensor, " rows"]


@dataclass
class Answers:
    """The answers to a split, sample by sample; `add` takes in a batch.

    Attributes:
        task: of the model.
        ids: of the samples.
        logits: of each sample `[rows, outputs]`: a row, or one for each of its real steps.
        labels: of each sample `[rows]` or `[rows, outputs]`.
    """

    task: Task
    ids: list[str] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)

    def add(self, batch: Batch, logits: Tensor) -> None:
        """Take in a batch, as `locomt.train.evaluation.evaluate` tells of it."""
        self.ids += batch.ids
        for answer, label in zip(logits.cpu(), batch.labels.cpu(), strict=True):
            real = self.task.real(label)
            self.logits.append(answer[real] if real.ndim else answer[None])
            self.labels.append(label[real] if real.ndim else label[None])

    @property
    def rows(self) -> Rows:
        counts = torch.tensor([len(answer) for answer in self.logits])
        places = torch.arange(len(self.ids)).repeat_interleave(counts)
        return Rows(torch.cat(self.logits), torch.cat(self.labels), places)
