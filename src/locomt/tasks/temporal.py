"""Events in time: which classes are on at each step of a clip."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from locomt import ranks
from locomt.tasks import average_precision as ap
from locomt.tasks.events import THRESHOLD, TICK, Counts, count_events, find_events, parse_events, steps_of
from locomt.tasks.label_text import LabelError, place_of
from locomt.tasks.multilabel import Multilabel
from locomt.tasks.task import Scores

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Temporal(Multilabel):
    """Each class is on or off at each time step. Labels are float32 `[time steps, classes]`, NaN beyond the end."""

    name: ClassVar[str] = "temporal"
    monitors: ClassVar[Mapping[str, str]] = {"mAP": "max", "event_f1": "max", "loss": "min"}
    in_time: ClassVar[bool] = True

    @property
    def time_steps(self) -> int:
        """T; the last step may reach beyond `seconds`."""
        seconds, step = self._times
        return math.ceil(round(seconds / step, 6))

    @property
    def _times(self) -> tuple[float, float]:
        assert self.seconds is not None
        assert self.step is not None
        return self.seconds, self.step

    def _names(self, cell: str) -> list[str]:
        try:
            return [event.label for event in parse_events(cell)]
        except LabelError:
            return []

    def _target(self, cell: str, places: Mapping[str, int]) -> Float[Tensor, "steps classes"]:
        seconds, step = self._times
        target = torch.zeros(self.time_steps, len(places))
        for event in parse_events(cell):
            if event.end > seconds + TICK:
                raise LabelError(
                    f"event {event.label!r} ends at {event.end:g} s, and the clip at data.seconds = {seconds:g}"
                )
            target[steps_of(event, step, self.time_steps), place_of(event.label, places)] = 1.0
        return target

    def classes_in(self, label: Float[Tensor, "steps classes"]) -> Int[Tensor, " some"]:
        return super().classes_in(label.amax(dim=0))  # as many events as it may have of a class, it has the class

    @property
    def refuses_mixing(self) -> str:
        return "the events of a temporal task are not mixed"

    def loss(
        self,
        logits: Float[Tensor, "batch steps classes"],
        labels: Float[Tensor, "batch steps classes"],
        smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy over the real steps."""
        real = ~labels.isnan()
        targets = labels * (1 - smoothing) + smoothing / labels.shape[-1]
        return binary_cross_entropy_with_logits(logits.float()[real], targets[real])

    def scores(self, labels: Sequence[str]) -> Scores:
        return TemporalScores(labels, self._times[1], self.smooth)

    def answer(self, logits: Float[Tensor, "steps classes"], labels: Sequence[str], top: int) -> dict[str, Any]:
        """`{"events": [{"label":, "start":, "end":, "score":}, ...]}`, all of them, in the order of their starts."""
        (seconds, step), scores = self._times, logits.sigmoid()
        events = [
            {
                "label": label,
                "start": round(found.start, 6),
                "end": round(min(found.end, seconds), 6),
                "score": found.score,
            }
            for i, label in enumerate(labels)
            for found in find_events(scores[:, i], step, self.smooth)
        ]
        return {"events": sorted(events, key=lambda event: event["start"])}

    def notes(self, names: Collection[str]) -> list[str]:
        return []


class TemporalScores(Scores):
    """Mean average precision, every real time step counting as a sample, and F1, precision and recall of the events.

    Steps are ranked by logits; events are where probabilities reach `THRESHOLD`. A class that is on in no step has no
    average precision: it is left out of the mean and stands as None, and `classes_scored` says how many are left. The
    events of all classes count together; what of them is true is as long as the steps in which it is on. See
    `locomt.tasks.events`.

    Args:
        labels: the classes.
        step: seconds from one time step to the next.
        smooth: as for `find_events`.
    """

    def __init__(self, labels: Sequence[str], step: float, smooth: float = 0.0) -> None:
        super().__init__(labels)
        self.step, self.smooth = step, smooth
        self.logits: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(
        self, logits: Float[Tensor, "batch steps classes"], labels: Float[Tensor, "batch steps classes"]
    ) -> None:
        self.logits.append(ap.kept(logits))
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
            label: ap.average_precision(likely[:, i], on[:, i]) | counts[i].metrics() | {"events": counts[i].true}
            for i, label in enumerate(self.labels)
        }
        return {
            "metrics": {
                "mAP": ap.mean_of(per_class),
                **sum(counts, start=Counts()).metrics(),
                "classes_scored": ap.scored(per_class),
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
