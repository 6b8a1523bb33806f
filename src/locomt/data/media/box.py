"""A part of a picture, in parts of its width and height."""

from __future__ import annotations

from collections.abc import Sequence

from locomt.require import require

Box = Sequence[float]
"""Left, top, right and bottom of an upright picture, from 0 to 1."""


def check_box(box: Box | None) -> None:
    """Raises `ConfigError` where it is no box."""
    if box is None:
        return
    told = f"box: expected [left, top, right, bottom] in parts of the picture, such as [0, 0.5, 1, 1], got {list(box)}"
    require(len(box) == 4, told)
    left, top, right, bottom = box
    require(0 <= left < right <= 1 and 0 <= top < bottom <= 1, told)


def part_of(height: int, width: int, box: Box) -> tuple[slice, slice]:
    """The rows and columns of a picture that lie in a box, to the nearest pixel; one of each at least."""
    left, top, right, bottom = box
    return _between(top, bottom, height), _between(left, right, width)


def _between(first: float, last: float, count: int) -> slice:
    begin = min(round(first * count), count - 1)
    return slice(begin, max(round(last * count), begin + 1))
