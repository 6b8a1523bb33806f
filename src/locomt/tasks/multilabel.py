"""Any number of classes a sample."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from locomt import ranks
from locomt.tasks import average_precision as ap
from locomt.tasks.label_text import NOTHING, place_of, split_labels
from locomt.tasks.task import Scores, Task, likeliest, logit_of_mean

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class Multilabel(Task):
    """Each class of a list is there or not. Labels are float32 `[classes]`, between 0 and 1 where they are mixed."""

    name: ClassVar[str] = "multilabel"
    monitors: ClassVar[Mapping[str, str]] = {"mAP": "max", "mAUC": "max", "loss": "min"}
    floor_name: ClassVar[str] = "label frequencies"
    several: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True

    def _target(self, cell: str, places: Mapping[str, int]) -> Float[Tensor, " classes"]:
        target = torch.zeros(len(places))
        target[[place_of(name, places) for name in ([] if cell in NOTHING else split_labels(cell))]] = 1.0
        return target

    def classes_in(self, label: Float[Tensor, " classes"]) -> Int[Tensor, " some"]:
        return label.nonzero().flatten()

    def loss(
        self, logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"], smoothing: float = 0.0
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy; smoothed as by the AudioSet recipe of MBT, by s / K here too."""
        targets = labels * (1 - smoothing) + smoothing / labels.shape[-1]
        return binary_cross_entropy_with_logits(logits.float(), targets)

    def blind_loss(self, classes: int, labels: Iterable[Tensor]) -> float:
        """That of a yes or no."""
        return math.log(2)

    def scores(self, labels: Sequence[str]) -> Scores:
        return MultilabelScores(labels)

    def floor(self, labels: Float[Tensor, "samples *steps classes"], classes: int) -> Float[Tensor, " classes"]:
        """How frequent each class is."""
        return labels.flatten(0, -2).mean(dim=0).logit(eps=1e-6)

    def mean_answer(
        self, logits: Float[Tensor, "answers *rest outputs"], there: Bool[Tensor, "answers *rest"]
    ) -> Float[Tensor, "*rest outputs"]:
        return logit_of_mean(logits, there)

    def _guesses(self, logits: Float[Tensor, " classes"], labels: Sequence[str], top: int) -> list[dict[str, Any]]:
        return likeliest(logits, logits.sigmoid(), labels, top)  # by logits: likely labels may all round to 1

    def notes(self, names: Collection[str]) -> list[str]:
        if not names or not set(names) <= {"0", "1", "True", "False"}:
            return []
        return ["the classes are 0 and 1: a label cell names those that are there, it is no vector of zeros and ones"]


class MultilabelScores(Scores):
    """Mean average precision and mean area under the ROC curve over the classes, and d-prime.

    d-prime is sqrt(2) times the normal quantile of the area (of the mean area, for all classes together) and None where
    that is infinite (Hershey et al., ICASSP 2017). Samples are ranked by logits, which tell apart what probabilities
    near 0 and 1 round together. A class without a positive sample has no average precision, one without a negative
    sample no area either, and one with an answer that is no number neither: such classes are left out of the means and
    stand as None, and `classes_scored` says how many are left.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, logits: Float[Tensor, "batch classes"], labels: Float[Tensor, "batch classes"]) -> None:
        self.logits.append(ap.kept(logits))
        self.targets.append(labels.long())

    def reset(self) -> None:
        self.logits.clear()
        self.targets.clear()

    def compute(self) -> dict[str, dict[str, Any]]:
        from torchmetrics.functional.classification import binary_auroc

        logits, targets = ranks.gather_rows(self.logits), ranks.gather_rows(self.targets)
        per_class: dict[str, dict[str, Any]] = {}
        for i, label in enumerate(self.labels):
            found = ap.average_precision(logits[:, i], targets[:, i])
            both = found["average_precision"] is not None and found["positives"] < len(targets)
            area = binary_auroc(ap.places(logits[:, i]), targets[:, i]).item() if both else None
            per_class[label] = found | {"auc": area, "d_prime": _d_prime(area)}
        mean_area = ap.mean([entry["auc"] for entry in per_class.values()])
        return {
            "metrics": {
                "mAP": ap.mean_of(per_class),
                "mAUC": mean_area,
                "d_prime": _d_prime(mean_area),
                "classes_scored": ap.scored(per_class),
            },
            "per_class": per_class,
        }


def _d_prime(area: float | None) -> float | None:
    if area is None or not 0 < area < 1:
        return None
    return math.sqrt(2) * NormalDist().inv_cdf(area)
