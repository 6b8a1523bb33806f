"""Scores of a split, overall and per class, one class a task. The numbers are torchmetrics'."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, Metric, MetricCollection, PearsonCorrCoef
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
    MulticlassStatScores,
)
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from locomt.data import IGNORED, DataConfig
from locomt.train import ranks
from locomt.train.events import THRESHOLD, Counts, count_events, find_events

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped


class Scores(nn.Module, ABC):
    """Gathers a split's answers batch by batch and scores them at its end, those of all processes together."""

    @abstractmethod
    def update(self, logits: Float[Tensor, "batch *steps outputs"], labels: Shaped[Tensor, "batch *rest"]) -> None:
        """Take in a batch: the model's answers and the labels as `locomt.data.Batch` has them."""

    @abstractmethod
    def compute(self) -> dict[str, dict[str, Any]]:
        """`{"metrics": {name: value}, "per_class": {label: {name: value}}}`; None where a value is undefined."""

    def reset(self) -> None:
        """Forget everything taken in."""
        for metric in self.modules():
            if isinstance(metric, Metric):
                metric.reset()


class MulticlassScores(Scores):
    """Accuracy, and precision, recall and F1 per class and macro (over the classes that occur)."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
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


class MultilabelScores(Scores):
    """Mean average precision and mean area under the ROC curve over the classes, and d-prime.

    d-prime is sqrt(2) times the normal quantile of the area (of the mean area, for all classes together) and None where
    that is infinite (Hershey et al., ICASSP 2017). A class without a positive sample has no average precision, one
    without a negative sample no area either: such classes are left out of the means and stand as None, and
    `classes_scored` says how many are left.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.scores: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, logits: Float[Tensor, "batch classes"], labels: Shaped[Tensor, "batch classes"]) -> None:
        self.scores.append(logits.detach().float().sigmoid())
        self.targets.append(labels.long())

    def reset(self) -> None:
        self.scores.clear()
        self.targets.clear()

    def compute(self) -> dict[str, dict[str, Any]]:
        scores, targets = ranks.gather_rows(self.scores), ranks.gather_rows(self.targets)
        per_class: dict[str, dict[str, Any]] = {}
        for i, label in enumerate(self.labels):
            found = _average_precision(scores[:, i], targets[:, i])
            both = 0 < found["positives"] < len(targets)
            area = binary_auroc(scores[:, i], targets[:, i]).item() if both else None
            per_class[label] = found | {"auc": area, "d_prime": _d_prime(area)}
        mean_area = _mean([entry["auc"] for entry in per_class.values()])
        return {
            "metrics": {
                "mAP": _mean([entry["average_precision"] for entry in per_class.values()]),
                "mAUC": mean_area,
                "d_prime": _d_prime(mean_area),
                "classes_scored": sum(entry["positives"] > 0 for entry in per_class.values()),
            },
            "per_class": per_class,
        }


class TemporalScores(Scores):
    """Mean average precision, every real time step counting as a sample, and F1, precision and recall of the events.

    A class that is on in no step has no average precision: it is left out of the mean and stands as None, and
    `classes_scored` says how many are left. The events of all classes count together; what of them is true is as long
    as the steps in which it is on. See `locomt.train.events`.

    Args:
        labels: the classes.
        step: seconds from one time step to the next.
        smooth: as for `find_events`.
    """

    def __init__(self, labels: Sequence[str], step: float, smooth: float = 0.0) -> None:
        super().__init__()
        self.labels, self.step, self.smooth = tuple(labels), step, smooth
        self.scores: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(
        self, logits: Float[Tensor, "batch steps classes"], labels: Float[Tensor, "batch steps classes"]
    ) -> None:
        self.scores.append(logits.detach().float().sigmoid())
        self.targets.append(labels)

    def reset(self) -> None:
        self.scores.clear()
        self.targets.clear()

    def compute(self) -> dict[str, dict[str, Any]]:
        scores, targets = ranks.gather_rows(self.scores), ranks.gather_rows(self.targets)
        real = ~targets[..., 0].isnan()
        on, likely = targets[real].long(), scores[real]
        counts = self._count_events(scores.cpu(), targets.cpu(), real.cpu())
        per_class = {
            label: _average_precision(likely[:, i], on[:, i]) | counts[i].metrics() | {"events": counts[i].true}
            for i, label in enumerate(self.labels)
        }
        return {
            "metrics": {
                "mAP": _mean([entry["average_precision"] for entry in per_class.values()]),
                **sum(counts, start=Counts()).metrics(),
                "classes_scored": sum(entry["positives"] > 0 for entry in per_class.values()),
            },
            "per_class": per_class,
        }

    def _count_events(self, scores: Tensor, targets: Tensor, real: Tensor) -> list[Counts]:
        """Of each class; a sample's real steps are the first ones."""
        counts, lengths = [Counts() for _ in self.labels], real.sum(dim=1).tolist()
        on = (torch.maximum(scores, targets) >= THRESHOLD).any(dim=1)  # all others have no events; NaN is never on
        for sample, i in on.nonzero().tolist():
            steps = slice(lengths[sample])
            found = find_events(scores[sample, steps, i], self.step, self.smooth)
            counts[i] += count_events(found, find_events(targets[sample, steps, i], self.step))
        return counts


class RegressionScores(Scores):
    """Mean absolute error and Pearson's correlation (None where one of the two does not vary)."""

    def __init__(self, labels: Sequence[str] = ()) -> None:
        super().__init__()
        self.error, self.correlation = MeanAbsoluteError(), PearsonCorrCoef()

    def update(self, logits: Float[Tensor, "batch *steps 1"], labels: Shaped[Tensor, "batch *steps 1"]) -> None:
        real = ~labels.isnan()
        self.error.update(logits[real], labels[real])
        self.correlation.update(logits[real], labels[real])

    def compute(self) -> dict[str, dict[str, Any]]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The variance of predictions or target is close to zero")
            correlation = self.correlation.compute().item()
        defined = correlation == correlation
        metrics = {"mae": self.error.compute().item(), "pearson": correlation if defined else None}
        return {"metrics": metrics, "per_class": {}}


def _average_precision(scores: Float[Tensor, " samples"], targets: Int[Tensor, " samples"]) -> dict[str, Any]:
    """Of one class: None where there is no positive; and how many positives there are."""
    positives = int(targets.sum())
    precision = binary_average_precision(scores, targets).item() if positives else None
    return {"average_precision": precision, "positives": positives}


def _d_prime(area: float | None) -> float | None:
    if area is None or not 0 < area < 1:
        return None
    return math.sqrt(2) * NormalDist().inv_cdf(area)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def scores_of(data: DataConfig, labels: Sequence[str]) -> Scores:
    """The scores of a recipe's task."""
    return make_scores(data.task, labels, data.step, data.smooth)


def make_scores(task: str, labels: Sequence[str], step: float | None = None, smooth: float = 0.0) -> Scores:
    """The scores of a task: `multiclass`, `multilabel`, `regression` or `temporal`, which needs its `step`."""
    if task == "temporal":
        assert step is not None, "a temporal task has a step"
        return TemporalScores(labels, step, smooth)
    kinds = {"multiclass": MulticlassScores, "multilabel": MultilabelScores, "regression": RegressionScores}
    return kinds[task](labels)
