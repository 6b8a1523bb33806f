"""What becomes of each modality in training: its own loss and score, its gradient, its share in the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from locomt.nn.model import Alone, FusionModel
from locomt.tasks import Scores, Task
from locomt.train.mean_loss import MeanLoss
from locomt.train.weighing import Weighing


class ByModality(nn.Module):
    """Follows the modalities that a model's head reads through training.

    Attributes:
        shares: how much each counts in the answer, as the last validation found it; empty before.

    Args:
        task: of the model.
        labels: the names of the classes.
        model: that is trained.
    """

    def __init__(self, task: Task, labels: Sequence[str], model: FusionModel) -> None:
        super().__init__()
        self.task, self.names = task, model.config.read
        self.scores = nn.ModuleList(task.scores(labels) for _ in self.names)
        self.train_loss = {name: MeanLoss() for name in self.names}
        self.val_loss = {name: MeanLoss() for name in self.names}
        self.gradients = {name: MeanLoss() for name in self.names}
        self.weighing = Weighing(task, self.names, model.head)
        self.shares: dict[str, float] = {}

    def loss(self, alone: Mapping[str, Alone], labels: Tensor, smoothing: float) -> Tensor:
        """The sum of the losses of what the model answers to each modality, of the samples that have it, over all."""
        total, samples = labels.new_zeros((), dtype=torch.float32), max(1, self.task.count(labels))
        for name, answer in alone.items():
            own = _of(answer, labels)
            if count := self.task.count(own):
                loss = self.task.loss(answer.logits, own, smoothing)
                self.train_loss[name].update(loss, len(own))
                total = total + count / samples * loss
        return total

    def measure_gradients(self, model: FusionModel) -> None:
        """Take in the norm of the gradient of every tower, embedding included, in this step."""
        for name in self.names:
            parts = (model.embeddings.of(name), model.towers.of(name))
            found = [p.grad for part in parts for p in part.parameters() if p.grad is not None]
            if found:
                self.gradients[name].update(torch.stack(torch._foreach_norm(found)).norm(), 1)

    def add(self, alone: Mapping[str, Alone], labels: Tensor) -> None:
        """Take in a batch of the validation split."""
        for name, scores in self._scored():
            if name not in alone:
                continue
            answer = alone[name]
            own = _of(answer, labels)
            if self.task.count(own):
                self.val_loss[name].update(self.task.loss(answer.logits, own), len(own))
                scores.update(answer.logits, own)

    def weigh(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Find the shares; the logits and labels of each batch by them. The split is forgotten."""
        self.shares = self.weighing.fit()
        yield from self.weighing.answers(self.shares)
        self.weighing.batches.clear()

    def validated(self) -> Iterator[tuple[str, float]]:
        """The loss and the metrics of each modality by itself on the validation split, by the names of their logs."""
        for name, scores in self._scored():
            if (loss := self.val_loss[name].compute()) is not None:
                yield f"val_loss/{name}", loss
                for metric, value in scores.compute()["metrics"].items():
                    yield f"val_{metric}/{name}", math.nan if value is None else float(value)
            scores.reset()

    def trained(self) -> Iterator[tuple[str, float]]:
        """The loss of each modality by itself over the epoch, and the mean norm of its tower's gradient."""
        for kind, means in (("train_loss", self.train_loss), ("gradient", self.gradients)):
            for name, mean in means.items():
                if (value := mean.compute()) is not None:
                    yield f"{kind}/{name}", value

    def _scored(self) -> Iterator[tuple[str, Scores]]:
        for name, scores in zip(self.names, self.scores, strict=True):
            assert isinstance(scores, Scores)
            yield name, scores

    def sums(self) -> list[dict[str, Tensor]]:
        """What a checkpoint within an epoch has to keep; `restore` takes it back."""
        return [{name: mean.sums for name, mean in means.items()} for means in (self.train_loss, self.gradients)]

    def restore(self, sums: Sequence[Mapping[str, Tensor]]) -> None:
        """Go on with the sums of a checkpoint."""
        for means, kept in zip((self.train_loss, self.gradients), sums, strict=True):
            for name, value in kept.items():
                means[name].sums = value


def _of(answer: Alone, labels: Tensor) -> Tensor:
    """The labels of the samples that an answer is about."""
    return labels if answer.samples is None else labels[answer.samples.to(labels.device)]
