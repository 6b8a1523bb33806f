"""Stretches of a clip in time: which one a crop is, and which frames or samples lie in it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

TICK = 1e-5
"""Seconds by which times that are meant to be equal may differ: containers round them, each in its own way."""


@dataclass(frozen=True)
class Crop:
    """A stretch of a clip, for its pictures and its sound alike.

    Attributes:
        begin, end: in seconds, on the clock of the container's time stamps.
        share: the same as shares of the whole clip, for streams whose frames have no times.
    """

    begin: float
    end: float
    share: tuple[float, float]

    def places(self, total: int, seconds: Sequence[float] | None) -> range:
        """Those of `total` frames that are shown within it; the nearest one where there is none.

        Args:
            total: frames of the whole clip.
            seconds: when each begins to be shown, in ascending order; None where it is not known.
        """
        if seconds is None:
            first, last = math.floor(self.share[0] * total), math.ceil(self.share[1] * total)
        else:
            first, last = bisect_left(seconds, self.begin - TICK), bisect_left(seconds, self.end - TICK)
        if first >= last:
            first = min(max(0, first - 1), total - 1)
            last = first + 1
        return range(first, last)


def crop_at(span: tuple[float, float], seconds: float, place: float) -> Crop:
    """The crop of a length, as far from the beginning of a file as `place` says.

    Args:
        span: of the file.
        seconds: how long it is. Of a shorter file it holds the whole, and so it does where nothing says how long
            the file is.
        place: 0 is the first one, 1 the last one, 0.5 the one in the middle.
    """
    begin, end = span
    start = begin + place * (end - begin - seconds)
    if end - begin <= seconds:
        return Crop(-math.inf, math.inf, (0.0, 1.0))
    return Crop(start, start + seconds, ((start - begin) / (end - begin), (start + seconds - begin) / (end - begin)))


def moments(span: tuple[float, float], seconds: float, count: int) -> list[Crop]:
    """The middles of `count` equal parts of the first `seconds` of a file, as far as it reaches; one at least.

    A crop is so short that it holds one frame: that which is shown at its moment.
    """
    begin, end = span
    length = end - begin
    middles = [(2 * part + 1) * seconds / (2 * count) for part in range(count)]
    reached = [middle for middle in middles if middle < length] or [0.0]
    shares = [middle / length if length > 0 else 0.0 for middle in reached]
    return [
        Crop(begin + middle, begin + middle + 2 * TICK, (share, share + TICK))
        for middle, share in zip(reached, shares, strict=True)
    ]
