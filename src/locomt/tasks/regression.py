"""A number a sample, or a step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from locomt.tasks.label_text import number_of, split_labels
from locomt.tasks.task import Scores, Task

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


class Regression(Task):
    """A number. Labels are float32 `[1]` or `[steps, 1]`."""

    name: ClassVar[str] = "regression"
    monitors: ClassVar[Mapping[str, str]] = {"mae": "min", "pearson": "max", "loss": "min"}
    floor_name: ClassVar[str] = "median"
    has_classes: ClassVar[bool] = False
    takes_steps: ClassVar[bool] = True
    padding: ClassVar[float] = float("nan")

    def _target(self, cell: str, places: Mapping[str, int]) -> Float[Tensor, "*steps 1"]:
        numbers = torch.tensor([number_of(entry) for entry in (split_labels(cell) if self.stepwise else [cell])])
        return numbers[:, None] if self.stepwise else numbers

    def num_outputs(self, labels: Sequence[str]) -> int:
        return 1

    def loss(
        self, logits: Float[Tensor, "batch *steps 1"], labels: Float[Tensor, "batch *steps 1"], smoothing: float = 0.0
    ) -> Float[Tensor, ""]:
        """Squared error, of which nothing is smoothed."""
        real = ~labels.isnan()
        return mse_loss(logits.float()[real], labels[real])

    def blind_loss(self, classes: int, labels: Iterable[Tensor]) -> float:
        """The mean square of the labels, 0 being the answer, and 1 for what an untrained head says instead of 0."""
        squares = count = 0.0
        for label in labels:
            squares += label.double().square().sum().item()
            count += label.numel()
        return 1 + (squares / count if count else 0.0)

    def scores(self, labels: Sequence[str]) -> Scores:
        return RegressionScores(labels)

    def floor(self, labels: Float[Tensor, "samples 1"], classes: int) -> Float[Tensor, " 1"]:
        return labels.median(dim=0).values

    def mean_answer(
        self, logits: Float[Tensor, "answers *rest outputs"], there: Bool[Tensor, "answers *rest"]
    ) -> Float[Tensor, "*rest outputs"]:
        weight = there[..., None].to(logits.dtype)
        return (logits * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1)

    def _guesses(self, logits: Float[Tensor, " 1"], labels: Sequence[str], top: int) -> list[dict[str, Any]]:
        return [{"label": "value", "score": logits.item()}]


class RegressionScores(Scores):
    """Mean absolute error and Pearson's correlation (None where one of the two does not vary), as in torchmetrics."""

    def __init__(self, labels: Sequence[str] = ()) -> None:
        from torchmetrics import MeanAbsoluteError, PearsonCorrCoef

        super().__init__(labels)
        self.error, self.correlation = MeanAbsoluteError(), PearsonCorrCoef()

    def update(self, logits: Float[Tensor, "batch *steps 1"], labels: Float[Tensor, "batch *steps 1"]) -> None:
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
