"""What the figures of a task are made of, and those that several tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from markupsafe import Markup

from locomt.report import charts
from locomt.report.answers import Answers
from locomt.report.cards import Cards
from locomt.report.page import Section, figure, gallery, side_by_side

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

WORST, OF_A_CELL = 12, 6
"""Samples shown of the worst mistakes, and of each cell of a table."""
CURVES = 8
"""Classes whose precision and recall are drawn: those with the most samples."""


@dataclass(frozen=True)
class Material:
    """The answers to a split.

    Attributes:
        answers: of the model.
        labels: the names of the classes.
        cards: the samples of the page.
        seconds: how long a sample of events is, 0 elsewhere.
    """

    answers: Answers
    labels: Sequence[str]
    cards: Cards
    seconds: float = 0.0

    def id_of(self, sample: int) -> str:
        return self.answers.ids[sample]


def calibration(said: Float[Tensor, " rows"], right: Float[Tensor, " rows"]) -> Markup:
    """How far probabilities can be believed."""
    bins, error = charts.reliability_bins(said, right)
    return figure(
        "Calibration",
        charts.reliability(bins),
        f"Expected calibration error {error:.3f} over {charts.BINS} bins (0 is best); bars: 95 % intervals (Wilson).",
    )


def precision_recall(
    scores: Float[Tensor, "rows classes"], there: Int[Tensor, "rows classes"], labels: Sequence[str]
) -> Markup:
    """Of the classes that occur most, each against all others; nothing where none occurs."""
    from torchmetrics.functional.classification import binary_precision_recall_curve

    counts = there.sum(dim=0)
    most = counts.argsort(descending=True, stable=True)[:CURVES].tolist()
    most = [place for place in most if counts[place] and scores[:, place].isfinite().all()]
    if not most:
        return Markup()
    curves = {}
    for place in sorted(most):
        precision, recall, _ = binary_precision_recall_curve(scores[:, place], there[:, place])
        curves[labels[place]] = (precision, recall)
    left = len(labels) - len(most)
    return figure(
        "Precision and recall",
        charts.precision_recall(curves),
        f"A class against all others{f'; the {len(most)} with the most samples of {len(labels)}' if left else ''}.",
    )


def beside(*drawn: Markup) -> Section:
    """The section of figures about probabilities."""
    return Section("How sure it is", side_by_side(one for one in drawn if one))


def worst_mistakes(
    material: Material, mistakes: Sequence[tuple[str, Sequence[str]]], count: int, order: str
) -> list[Section]:
    """The samples that were answered worst; no section where there is none.

    Args:
        material: what the page is made of.
        mistakes: the first `WORST` of them.
        count: how many there are.
        order: what makes them the worst.
    """
    places = material.cards.add_all(mistakes[:WORST])
    if not places:
        return []
    return [Section("Worst mistakes", gallery(places), f"{len(places)} of {count:,}, {order}.")]


def sample_loss(losses: Float[Tensor, "rows *rest"], samples: Int[Tensor, " rows"], count: int) -> Float[Tensor, " n"]:
    """The mean of a loss over the rows of each sample."""
    by_row = losses.flatten(1).double().mean(dim=1) if losses.ndim > 1 else losses.double()
    total = torch.zeros(count, dtype=torch.float64).index_add(0, samples, by_row)
    return total / torch.bincount(samples, minlength=count).clamp(min=1)
