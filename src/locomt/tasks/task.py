"""What a task says of itself: its labels, its loss, its scores, its answers, and what does not go with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from locomt.hints import require_list
from locomt.tasks.label_text import NOTHING, LabelError, is_written_list, not_a_list, split_labels

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped

IGNORED = -100
"""The label of a padded step; where labels are numbers, it is NaN."""


class Scores(nn.Module, ABC):
    """Gathers a split's answers batch by batch and scores them at its end, those of all processes together.

    Args:
        labels: the names of the classes.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        require_list(labels, "labels")
        self.labels = tuple(labels)

    @abstractmethod
    def update(self, logits: Float[Tensor, "batch *steps outputs"], labels: Shaped[Tensor, "batch *rest"]) -> None:
        """Take in a batch: the model's answers and the labels as `locomt.data.Batch` has them."""

    @abstractmethod
    def compute(self) -> dict[str, dict[str, Any]]:
        """`{"metrics": {name: value}, "per_class": {label: {name: value}}}`; None where a value is undefined."""

    def reset(self) -> None:
        """Forget everything taken in."""
        from torchmetrics import Metric

        for metric in self.modules():
            if isinstance(metric, Metric):
                metric.reset()


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What a model is asked. A recipe's is `DataConfig.target`.

    Attributes:
        name: what `data.task` calls it.
        monitors: what a run may be judged by: metric -> `max` or `min`, whichever is better. The first is the default.
        floor_name: what the one answer for all samples is called.
        has_classes: labels are names on a list; without, they are numbers.
        several: a sample may have several of the classes, or none.
        takes_steps: labels may belong to the steps of `data.steps`.
        scale_free: logits times a number above 0 rank classes and samples as before.
        in_time: answers lie along time, from `data.seconds` and `data.step`.
        padding: the label of a padded step.
        stepwise: every step of `data.steps` has a label of its own.
        seconds, step, smooth: as `DataConfig` has them.
    """

    name: ClassVar[str]
    monitors: ClassVar[Mapping[str, str]]
    floor_name: ClassVar[str]
    has_classes: ClassVar[bool] = True
    several: ClassVar[bool] = False
    takes_steps: ClassVar[bool] = False
    scale_free: ClassVar[bool] = False
    in_time: ClassVar[bool] = False
    padding: ClassVar[float] = IGNORED

    stepwise: bool = False
    seconds: float | None = None
    step: float | None = None
    smooth: float = 0.0

    # Labels

    def names(self, cell: str) -> list[str]:
        """The names of classes in a label cell; none where it cannot be: its row will be a bad sample."""
        return [] if cell in ("", *NOTHING) or is_written_list(cell) else self._names(cell)

    def _names(self, cell: str) -> list[str]:
        return [name for name in split_labels(cell) if name] if self.several or self.stepwise else [cell]

    def order(self, names: Collection[str]) -> list[str]:
        """The classes of a manifest in the order of the model's outputs: as numbers where all are whole ones."""
        numbers = all(name.isdecimal() for name in names)
        return sorted(names, key=lambda name: (int(name), name) if numbers else (0, name))

    def parse(self, cell: str, places: Mapping[str, int]) -> Shaped[Tensor, "*shape"]:
        """A label cell as a tensor, of the shape that `locomt.data.Sample.label` has.

        Args:
            cell: a name, a number, or several joined by `;`. A lone `;`, or `[]`, says that none of a sample's several
                labels is there, or that nothing happens in it; an empty cell says nothing and is an error.
            places: label -> its index, as `locomt.tasks.class_names.places_of` gives it.

        Raises:
            LabelError: a label is not on the list, a number or an event is none, or the cell is empty.
        """
        if not cell or (cell in NOTHING and not self.several):
            raise LabelError("expected a label, got an empty cell")
        if is_written_list(cell) and cell not in places and (self.has_classes or self.stepwise):
            raise LabelError(not_a_list(cell))
        return self._target(cell, places)

    @abstractmethod
    def _target(self, cell: str, places: Mapping[str, int]) -> Shaped[Tensor, "*shape"]:
        """`parse` of a cell that says something."""

    def stack(self, labels: Sequence[Tensor], steps: int) -> Shaped[Tensor, "batch *rest"]:
        """The labels of a batch; where they belong to steps, padded to so many of them."""
        if not self.stepwise:
            return torch.stack(list(labels))
        stacked = labels[0].new_full((len(labels), steps, *labels[0].shape[1:]), self.padding)
        for place, label in zip(stacked, labels, strict=True):
            place[: len(label)] = label
        return stacked

    def count(self, labels: Shaped[Tensor, "batch *rest"]) -> int:
        """How many samples, or real steps where labels belong to steps, `loss` is the mean over."""
        return int(self.real(labels).sum())

    def real(self, labels: Shaped[Tensor, "*batch rest"]) -> Bool[Tensor, "*batch steps"]:
        """Which samples, or which of their steps, have a label."""
        return (~labels.isnan()).any(dim=-1) if labels.is_floating_point() else labels != IGNORED

    def classes_in(self, label: Shaped[Tensor, "*shape"]) -> Int[Tensor, " classes"]:
        """Which classes a sample has, by its label: what sampling balances."""
        return label.flatten()

    @property
    def refuses_mixing(self) -> str:
        """Why labels cannot be mixed; empty where they can."""
        return "data.steps gives every step a label of its own, which are not mixed" if self.stepwise else ""

    def mixable(self, labels: Shaped[Tensor, "batch *rest"], classes: int) -> Float[Tensor, "batch rest"]:
        """The labels of a batch as numbers of which `loss` takes a mean too."""
        return labels

    # The model

    def num_outputs(self, labels: Sequence[str]) -> int:
        """How many outputs the model needs for these classes."""
        return len(labels)

    @property
    def time_steps(self) -> int:
        """Answers along time; 0 where there is one answer a sample or a step."""
        return 0

    @abstractmethod
    def loss(
        self,
        logits: Float[Tensor, "batch *steps outputs"],
        labels: Shaped[Tensor, "batch *rest"],
        smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The mean loss over the samples, or over the real steps where labels belong to steps.

        Args:
            logits: under bf16 autocast the loss itself stays in 32 bits.
            labels: as a batch has them, or mixed.
            smoothing: s turns a target y into (1 - s) y + s / K, K being the number of classes.
        """

    @abstractmethod
    def blind_loss(self, classes: int, labels: Iterable[Tensor]) -> float:
        """About the most that an answer without looking costs, be it the best of its kind or an untrained model's.

        Args:
            classes: how many there are.
            labels: of a split, read as far as they are needed.
        """

    # Scores and answers

    @abstractmethod
    def scores(self, labels: Sequence[str]) -> Scores:
        """What scores a split."""

    def better(self, metric: str) -> str:
        """`less` or `more`."""
        return "less" if self.monitors[metric] == "min" else "more"

    @abstractmethod
    def floor(self, labels: Shaped[Tensor, "samples *rest"], classes: int) -> Float[Tensor, " outputs"]:
        """The one best answer that the labels of the training split suggest, as a model would say it.

        Args:
            labels: of all samples, or of all steps in a row.
            classes: how many there are.
        """

    def answer(self, logits: Float[Tensor, "*steps outputs"], labels: Sequence[str], top: int) -> dict[str, Any]:
        """What the model says of a sample, in JSON types.

        Args:
            logits: of its real steps.
            labels: the classes.
            top: how many of them to give.

        Returns:
            `{"predictions": [{"label":, "score":}, ...]}`, beginning with the answer that is scored; where labels
            belong to steps each prediction names its `step`.
        """
        if logits.ndim == 1:
            return {"predictions": self._guesses(logits, labels, top)}
        steps = enumerate(self._guesses(row, labels, top) for row in logits)
        return {"predictions": [{"step": i, **guess} for i, guesses in steps for guess in guesses]}

    @abstractmethod
    def _guesses(self, logits: Float[Tensor, " outputs"], labels: Sequence[str], top: int) -> list[dict[str, Any]]:
        """The `predictions` of one answer."""

    @abstractmethod
    def mean_answer(
        self, logits: Float[Tensor, "answers *rest outputs"], there: Bool[Tensor, "answers *rest"]
    ) -> Float[Tensor, "*rest outputs"]:
        """One answer out of several: the logits of the mean of their probabilities; of numbers the mean.

        Args:
            logits: of several models, about the same samples.
            there: which of them has something to say.
        """

    def notes(self, names: Collection[str]) -> list[str]:
        """What the classes of a manifest give away of a misunderstanding, a line each."""
        return []


def log_of_mean(
    logs: Float[Tensor, "answers *rest outputs"], there: Bool[Tensor, "answers *rest"]
) -> Float[Tensor, "*rest outputs"]:
    """The logarithm of a mean, by the logarithms of what the mean is over; of those alone that are there."""
    logs = logs.masked_fill(~there[..., None], torch.finfo(logs.dtype).min)
    return logs.logsumexp(dim=0) - there.sum(dim=0).clamp(min=1)[..., None].to(logs.dtype).log()


def logit_of_mean(
    logits: Float[Tensor, "answers *rest outputs"], there: Bool[Tensor, "answers *rest"]
) -> Float[Tensor, "*rest outputs"]:
    """The logit of the mean of the probabilities of yes, be they as near to 0 or 1 as they may."""
    return log_of_mean(logsigmoid(logits), there) - log_of_mean(logsigmoid(-logits), there)


def likeliest(
    ranks: Float[Tensor, " classes"], scores: Float[Tensor, " classes"], labels: Sequence[str], top: int
) -> list[dict[str, Any]]:
    """The labels that rank highest, with their scores."""
    order = ranks.argsort(descending=True, stable=True)[:top]
    return [{"label": labels[i], "score": scores[i].item()} for i in order.tolist()]
