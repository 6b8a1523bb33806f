"""One class a sample, or a step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from locomt.tasks.label_text import place_of, split_labels
from locomt.tasks.task import IGNORED, Scores, Task, likeliest, log_of_mean

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped


class Multiclass(Task):
    """One class out of a list. Labels are int64 indices, `[]` or `[steps]`; mixed ones are probabilities."""

    name: ClassVar[str] = "multiclass"
    monitors: ClassVar[Mapping[str, str]] = dict.fromkeys(("accuracy", "f1", "precision", "recall"), "max") | {
        "loss": "min"
    }
    floor_name: ClassVar[str] = "majority class"
    takes_steps: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True

    def _target(self, cell: str, places: Mapping[str, int]) -> Int[Tensor, "*steps"]:
        target = torch.tensor([place_of(name, places) for name in (split_labels(cell) if self.stepwise else [cell])])
        return target if self.stepwise else target[0]

    def mixable(self, labels: Shaped[Tensor, " batch"], classes: int) -> Float[Tensor, "batch classes"]:
        return one_hot(labels, classes).float()

    def loss(
        self,
        logits: Float[Tensor, "batch *steps classes"],
        labels: Shaped[Tensor, "batch *rest"],
        smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Cross-entropy, as in the paper."""
        logits = logits.float()
        if labels.is_floating_point():
            return cross_entropy(logits, labels, label_smoothing=smoothing)
        return cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)

    def blind_loss(self, classes: int, labels: Iterable[Tensor]) -> float:
        """All classes alike."""
        return math.log(max(2, classes))

    def scores(self, labels: Sequence[str]) -> Scores:
        return MulticlassScores(labels)

    def floor(self, labels: Int[Tensor, " samples"], classes: int) -> Float[Tensor, " classes"]:
        """The most frequent class."""
        return torch.bincount(labels, minlength=classes).float()

    def mean_answer(
        self, logits: Float[Tensor, "answers *rest outputs"], there: Bool[Tensor, "answers *rest"]
    ) -> Float[Tensor, "*rest outputs"]:
        return log_of_mean(logits.log_softmax(dim=-1), there)

    def _guesses(self, logits: Float[Tensor, " classes"], labels: Sequence[str], top: int) -> list[dict[str, Any]]:
        return likeliest(logits, logits.softmax(-1), labels, top)  # by logits: likely labels may all round to 1

    def notes(self, names: Collection[str]) -> list[str]:
        if len(names) != 1:
            return []
        return [f"there is one class alone, {next(iter(names))!r}: nothing to tell it from"]


class MulticlassScores(Scores):
    """Accuracy, and precision, recall and F1 per class and macro (over the classes that occur), as in torchmetrics."""

    def __init__(self, labels: Sequence[str]) -> None:
        # Where scores are made: it takes seconds, and a recipe is read without it.
        from torchmetrics import MetricCollection
        from torchmetrics.classification import (
            MulticlassAccuracy,
            MulticlassF1Score,
            MulticlassPrecision,
            MulticlassRecall,
            MulticlassStatScores,
        )

        super().__init__(labels)
        count = max(2, len(labels))  # torchmetrics knows no single class
        kinds = {"precision": MulticlassPrecision, "recall": MulticlassRecall, "f1": MulticlassF1Score}
        self.macro = MetricCollection(
            {"accuracy": MulticlassAccuracy(count, average="micro", ignore_index=IGNORED)}
            | {name: kind(count, average="macro", ignore_index=IGNORED) for name, kind in kinds.items()}
        )
        self.each = MetricCollection(
            {name: kind(count, average=None, ignore_index=IGNORED) for name, kind in kinds.items()}
            | {"support": MulticlassStatScores(count, average=None, ignore_index=IGNORED)}
        )

    def update(self, logits: Float[Tensor, "batch *steps classes"], labels: Shaped[Tensor, "batch *steps"]) -> None:
        logits, labels = logits.flatten(0, -2), labels.flatten()
        self.macro.update(logits, labels)
        self.each.update(logits, labels)

    def compute(self) -> dict[str, dict[str, Any]]:
        each = self.each.compute()
        each["support"] = each["support"][:, -1]  # of tp, fp, tn, fn, support
        return {
            "metrics": {name: value.item() for name, value in self.macro.compute().items()},
            "per_class": {
                label: {name: values[i].item() for name, values in each.items()} for i, label in enumerate(self.labels)
            },
        }
