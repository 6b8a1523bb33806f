"""Events: out of a label cell and on time steps, out of what a model says of each step, and how many are right."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from locomt.tasks.class_names import clean
from locomt.tasks.label_text import NOTHING, LabelError, split_labels

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

THRESHOLD = 0.5
COLLAR = 0.2
"""Seconds by which the start of an event that counts as found may be off, and its end too unless it is a long one."""
SHARE = 0.5
"""Of a true event's length, by which the end may be off where that is more."""
TICK = 1e-6
"""Seconds, or share of a step, by which times that are meant to be equal may differ."""
_NUMBER = r"[0-9.]+(?:e[-+]?[0-9]+)?"
_TIMES = rf"@\s*(?P<start>{_NUMBER})\s*-\s*(?P<end>{_NUMBER})"
_EVENT = re.compile(rf"(?P<label>.+){_TIMES}", re.IGNORECASE)
_ANOTHER = re.compile(rf"{_TIMES}(?![\w.])", re.IGNORECASE)
"""Within the name of an event: the times of another one, joined to it by something else than `;`."""


class Event(NamedTuple):
    """Something that happens from one second of a clip to another."""

    label: str
    start: float
    end: float


def parse_events(cell: str) -> list[Event]:
    """`"dog@0.5-1.25; speech@0-2"` -> both events, in the order of the cell; none of a lone `;`.

    Raises:
        LabelError: something in the cell is no event, or one ends before it starts.
    """
    return [] if cell in NOTHING else [_event(entry) for entry in split_labels(cell)]


def _event(text: str) -> Event:
    found = _EVENT.fullmatch(text)
    try:
        start, end = (float(found[name]) for name in ("start", "end")) if found else (math.nan, math.nan)
    except ValueError:  # two points in a number
        found = None
    if not found:
        raise LabelError(f"expected events such as dog@0.5-1.25, from and to seconds, joined by ';', got {text!r}")
    if _ANOTHER.search(found["label"]):
        raise LabelError(f"expected events joined by ';', as in dog@0.5-1.25;speech@0-2, got {text!r:.80}")
    if not math.isfinite(start + end):
        raise LabelError(f"event {text!r}: expected finite seconds")
    if not start < end:
        raise LabelError(f"event {text!r}: expected it to end after it starts, at {start:g} s")
    return Event(clean(found["label"]), start, end)


def steps_of(event: Event, step: float, steps: int) -> list[int]:
    """The steps of which an event takes up at least half.

    If it takes up half of none, being shorter than one, that which has most of it (the first of equals): no event is
    lost.
    """
    first, last = min(int(event.start / step), steps - 1), min(math.ceil(event.end / step), steps)
    shares = [
        (t, min(event.end / step, t + 1) - max(event.start / step, t)) for t in range(first, max(last, first + 1))
    ]
    on = [t for t, share in shares if share >= 0.5 - TICK]
    return on or [max(shares, key=lambda entry: entry[1])[0]]


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
