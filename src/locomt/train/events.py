"""Events out of what a model says of each time step, and how many of them are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

THRESHOLD = 0.5
COLLAR = 0.2
"""Seconds by which the start of an event that counts as found may be off, and its end too unless it is a long one."""
SHARE = 0.5
"""Of a true event's length, by which the end may be off where that is more."""
TICK = 1e-6
"""Seconds by which times that are meant to be equal may differ."""


class Span(NamedTuple):
    """An event of one class, in seconds, and the mean probability over its steps."""

    start: float
    end: float
    score: float


def find_events(scores: Float[Tensor, " steps"], step: float, smooth: float = 0.0) -> list[Span]:
    """The runs of steps with a probability of `THRESHOLD` or more, in their order.

    Args:
        scores: of one class at each step, as far as the sample reaches.
        step: seconds.
        smooth: length in seconds of a median filter over on and off; less than two steps change nothing. It takes out
            what is shorter than half of it, and fills such gaps.
    """
    on = smoothed(scores >= THRESHOLD, 2 * int(smooth / step / 2 + TICK) + 1)
    edges = torch.diff(on.int(), prepend=on.new_zeros(1).int(), append=on.new_zeros(1).int())
    begins, ends = ((edges == sign).nonzero().flatten().tolist() for sign in (1, -1))
    return [
        Span(begin * step, end * step, scores[begin:end].mean().item()) for begin, end in zip(begins, ends, strict=True)
    ]


def smoothed(on: Bool[Tensor, " steps"], window: int) -> Bool[Tensor, " steps"]:
    """The median of an odd window around each step; beyond the ends nothing is on."""
    around = pad(on.int(), (window // 2, window // 2)).unfold(0, window, 1)
    return around.sum(dim=1) > window // 2


@dataclass
class Counts:
    """Events of a class in all samples: those that are there, those that were found, and the pairs of both."""

    true: int = 0
    found: int = 0
    both: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.true + other.true, self.found + other.found, self.both + other.both)

    def metrics(self) -> dict[str, float | None]:
        """Precision, recall and F1; None where nothing was found, nothing is there, or neither."""
        return {
            "event_f1": _ratio(2 * self.both, self.true + self.found),
            "event_precision": _ratio(self.both, self.found),
            "event_recall": _ratio(self.both, self.true),
        }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def count_events(found: Sequence[Span], true: Sequence[Span]) -> Counts:
    """The events of one class in one sample, as many pairs as can be made of both.

    A pair's starts differ by at most `COLLAR`, its ends by at most `COLLAR` or `SHARE` of the true event's length,
    whichever is more; each event is in one pair at most. These are the event-based metrics of DCASE (Mesaros et al.,
    "Metrics for polyphonic sound event detection", Applied Sciences 2016).
    """
    fits = [[place for place, other in enumerate(found) if _fits(other, event)] for event in true]
    partner: dict[int, int] = {}  # found -> true

    def give(event: int, asked: set[int]) -> bool:
        """Find a partner, for which those who have one may have to change (augmenting paths)."""
        for place in fits[event]:
            if place not in asked:
                asked.add(place)
                if place not in partner or give(partner[place], asked):
                    partner[place] = event
                    return True
        return False

    both = sum(give(event, set()) for event in range(len(true)))
    return Counts(len(true), len(found), both)


def _fits(found: Span, true: Span) -> bool:
    late = max(COLLAR, SHARE * (true.end - true.start))
    return abs(found.start - true.start) <= COLLAR + TICK and abs(found.end - true.end) <= late + TICK
