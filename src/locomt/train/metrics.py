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
from locomt.hints import require_list
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
    that is infinite (Hershey et al., ICASSP 2017). Samples are ranked by logits, which tell apart what probabilities
    near 0 and 1 round together. A class without a positive sample has no average precision, one without a negative
    sample no area either, and one with an answer that is no number neither: such classes are left out of the means and
    stand as None, and `classes_scored` says how many are left.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, logits: Float[Tensor, "batch classes"], labels: Shaped[Tensor, "batch classes"]) -> None:
        self.logits.append(_as_they_are(logits))
        self.targets.append(labels.long())

    def reset(self) -> None:
        self.logits.clear()
        self.targets.clear()

    def compute(self) -> dict[str, dict[str, Any]]:
        logits, targets = ranks.gather_rows(self.logits), ranks.gather_rows(self.targets)
        per_class: dict[str, dict[str, Any]] = {}
        for i, label in enumerate(self.labels):
            found = _average_precision(logits[:, i], targets[:, i])
            both = found["average_precision"] is not None and found["positives"] < len(targets)
            area = binary_auroc(_places(logits[:, i]), targets[:, i]).item() if both else None
            per_class[label] = found | {"auc": area, "d_prime": _d_prime(area)}
        mean_area = _mean([entry["auc"] for entry in per_class.values()])
        return {
            "metrics": {
                "mAP": _mean([entry["average_precision"] for entry in per_class.values()]),
                "mAUC": mean_area,
                "d_prime": _d_prime(mean_area),
                "classes_scored": sum(entry["average_precision"] is not None for entry in per_class.values()),
            },
            "per_class": per_class,
        }


class TemporalScores(Scores):
    """Mean average precision, every real time step counting as a sample, and F1, precision and recall of the events.

    Steps are ranked by logits; events are where probabilities reach `THRESHOLD`. A class that is on in no step has no
    average precision: it is left out of the mean and stands as None, and `classes_scored` says how many are left. The
    events of all classes count together; what of them is true is as long as the steps in which it is on. See
    `locomt.train.events`.

    Args:
        labels: the classes.
        step: seconds from one time step to the next.
        smooth: as for `find_events`.
    """

    def __init__(self, labels: Sequence[str], step: float, smooth: float = 0.0) -> None:
        super().__init__()
        self.labels, self.step, self.smooth = tuple(labels), step, smooth
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(
        self, logits: Float[Tensor, "batch steps classes"], labels: Float[Tensor, "batch steps classes"]
    ) -> None:
        self.logits.append(_as_they_are(logits))
        self.targets.append(labels)

    def reset(self) -> None:
        self.logits.clear()
        self.targets.clear()

    def compute(self) -> dict[str, dict[str, Any]]:
        logits, targets = ranks.gather_rows(self.logits), ranks.gather_rows(self.targets)
        real = ~targets[..., 0].isnan()
        on, likely = targets[real].long(), logits[real]
        counts = self._count_events(logits.sigmoid().cpu(), targets.cpu(), real.cpu())
        per_class = {
            label: _average_precision(likely[:, i], on[:, i]) | counts[i].metrics() | {"events": counts[i].true}
            for i, label in enumerate(self.labels)
        }
        return {
            "metrics": {
                "mAP": _mean([entry["average_precision"] for entry in per_class.values()]),
                **sum(counts, start=Counts()).metrics(),
                "classes_scored": sum(entry["average_precision"] is not None for entry in per_class.values()),
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


def _as_they_are(logits: Tensor) -> Tensor:
    """Logits to keep; those of 16 bits in 32."""
    return logits.detach().to(torch.promote_types(logits.dtype, torch.float32))


def _average_precision(logits: Float[Tensor, " samples"], targets: Int[Tensor, " samples"]) -> dict[str, Any]:
    """Of one class: None where there is no positive, or a logit that is no number; and how many positives there are."""
    positives = int(targets.sum())
    defined = positives and not logits.isnan().any()
    precision = binary_average_precision(_places(logits), targets).item() if defined else None
    return {"average_precision": precision, "positives": positives}


def _places(logits: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """The places of logits in their order, equal ones sharing theirs, as numbers in [0, 1).

    torchmetrics takes a sigmoid of what lies outside of [0, 1], and in its rounding large logits become equal.
    """
    places: Tensor = logits.unique(return_inverse=True)[1]
    return places.double() / len(logits)


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
    require_list(labels, "labels")
    if task == "temporal":
        assert step is not None, "a temporal task has a step"
        return TemporalScores(labels, step, smooth)
    kinds = {"multiclass": MulticlassScores, "multilabel": MultilabelScores, "regression": RegressionScores}
    return kinds[task](labels)
