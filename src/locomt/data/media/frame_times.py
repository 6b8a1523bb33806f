"""When the frames of a clip are shown, and which of them stand for it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from locomt.data.media.crop import TICK, Crop


@dataclass(frozen=True)
class FrameTimes:
    """When the frames of a clip are shown, in seconds.

    Attributes:
        begins: of each frame, in ascending order.
        end: when the last one ceases to be shown; None where nothing says it: it is shown as long as the others are
            on average.
        unit: what the container counts time in, and rounds it to.
    """

    begins: Sequence[float]
    end: float | None
    unit: float

    @cached_property
    def span(self) -> tuple[float, float]:
        """From when to when there is a frame to see."""
        first, last = self.begins[0], self.begins[-1]
        return first, last + self._step if self.end is None else max(self.end, last)

    @cached_property
    def even(self) -> bool:
        """Whether every frame is shown equally long, as far as rounded times can tell.

        The last one is thought to be as long as the others where less is stated: many programs state anything.
        """
        begins = np.asarray(self.begins)
        if len(begins) == 1:
            return True
        rounding = min(self.unit, self._step / 2) + TICK
        apart = np.abs(begins - begins[0] - self._step * np.arange(len(begins))).max()
        longer = self.span[1] - begins[-1] - self._step
        return bool(apart <= rounding and longer <= 2 * rounding)  # it is of two rounded times

    @property
    def _step(self) -> float:
        return (self.begins[-1] - self.begins[0]) / max(1, len(self.begins) - 1)

    def at(self, second: float) -> int:
        """The place of the frame that is shown at a moment; of the nearest one where there is none."""
        return max(0, bisect_right(self.begins, second + TICK) - 1)


def spread(total: int, count: int) -> list[int]:
    """The frames in the middle of `count` equal parts of `total` frames; some of them repeated if there are fewer."""
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


def pick(total: int, times: FrameTimes | None, count: int, crop: Crop | None) -> list[int]:
    """The `count` frames that stand for a clip of `total`, or for a crop of it.

    They are those shown at the middle of equal parts of its duration. Where all are shown equally long, these are the
    middle ones of equal parts of their number: rounded times would have it a frame earlier or later. So they are where
    the times are not known.
    """
    if times is None or times.even:
        places = crop.places(total, times.begins if times else None) if crop else range(total)
        return [places[place] for place in spread(len(places), count)]
    begin, end = times.span
    if crop:
        begin, end = min(max(begin, crop.begin), end), max(min(end, crop.end), begin)
    return [times.at(begin + (2 * part + 1) * (end - begin) / (2 * count)) for part in range(count)]
