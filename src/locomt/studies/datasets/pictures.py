"""Pictures of coloured shapes on a grid, and the words of questions and phrases about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "red": (0.9, 0.2, 0.2),
    "green": (0.2, 0.8, 0.3),
    "blue": (0.3, 0.4, 1.0),
    "yellow": (0.9, 0.85, 0.2),
    "white": (0.95, 0.95, 0.95),
    "purple": (0.75, 0.25, 0.9),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar")
SIZES = {"small": 0.26, "large": 0.46}
"""Radius of a shape over the width of its cell."""

DIAGONALS = {"test": (0,), "val": (1,), "train": (2, 3, 4, 5)}
"""Split -> its diagonals of the square of colours and shapes."""

Pair = tuple[str, str]
"""A colour and a shape."""

PIXELS = 8
"""Width and height of a cell."""

_FINE = 3
"""Points along each side of a pixel. A pixel is the mean of its points, so that small shapes have soft edges."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Thing:
    """A shape in one cell of a picture."""

    size: str
    colour: str
    shape: str


@cache
def pairs_of(split: str) -> tuple[Pair, ...]:
    """The pairs of colour and shape that belong to a split."""
    numbered = product(enumerate(COLOURS), enumerate(SHAPES))
    return tuple((c, s) for (i, c), (j, s) in numbered if (i - j) % len(SHAPES) in DIAGONALS[split])


def cell_numbers(side: int) -> int:
    """The length of a cell's vector in a grid of `side` x `side`: pixels, row and column."""
    return 3 * PIXELS**2 + 2 * side


def draw(cells: Sequence[Thing | None], noise: float, random: np.random.Generator) -> NDArray[np.float16]:
    """Draw a picture of a square grid, row after row: `[cells, cell_numbers(side)]`.

    Each cell has its pixels, then its row and its column as one-hot vectors of length 4.
    """
    side = round(len(cells) ** 0.5)
    places = [4.0 * np.eye(side)[list(divmod(place, side))].ravel() for place in range(len(cells))]
    return np.hstack([draw_pixels(cells, noise, random), places]).astype(np.float16)


def draw_pixels(cells: Sequence[Thing | None], noise: float, random: np.random.Generator) -> Array:
    """Draw cells on the same ground: pixels `[cells, 3 PIXELS^2]` of mean about 0 and variance about 1.

    Every shape is moved by up to 0.3 pixels each way. Its radius varies by up to 10 %, its colour with a standard
    deviation of 5 % of the range. The ground is a dark grey that all cells share. Normal noise is added, whose standard
    deviation is `noise` of the range.
    """
    ground = random.uniform(0.0, 0.15)
    pixels = np.stack([_cell(thing, ground, random) for thing in cells])
    pixels += random.normal(0, noise, pixels.shape)
    standardised: Array = (pixels.reshape(len(cells), -1) - 0.25) / 0.3
    return standardised


def _cell(thing: Thing | None, ground: float, random: np.random.Generator) -> Array:
    cell = np.full((PIXELS, PIXELS, 3), ground)
    if thing is None:
        return cell
    radius = SIZES[thing.size] * PIXELS * random.uniform(0.9, 1.1)
    dx, dy = random.uniform(-0.3, 0.3, 2)
    axis = (np.arange(PIXELS * _FINE) + 0.5) / _FINE - PIXELS / 2
    x, y = np.meshgrid((axis - dx) / radius, (axis - dy) / radius)
    share = _inside(thing.shape, x, y).reshape(PIXELS, _FINE, PIXELS, _FINE).mean(axis=(1, 3))[..., None]
    colour = np.array(COLOURS[thing.colour]) + random.normal(0, 0.05, 3)
    cell += share * (colour - cell)
    return cell


def _inside(shape: str, x: Array, y: Array) -> NDArray[np.bool_]:
    """Whether each point lies in a shape of radius 1 about (0, 0)."""
    ax, ay = np.abs(x), np.abs(y)
    if shape == "circle":
        return np.hypot(x, y) < 1
    if shape == "square":
        return np.maximum(ax, ay) < 0.9
    if shape == "triangle":
        return (y < 0.9) & (2 * ax < y + 1)
    if shape == "cross":
        return (np.minimum(ax, ay) < 0.3) & (np.maximum(ax, ay) < 1)
    if shape == "bar":
        return (ax < 0.35) & (ay < 1)
    assert shape == "ring", shape
    return (np.hypot(x, y) < 1) & (np.hypot(x, y) > 0.55)


def spell(text: str, words: Sequence[str]) -> NDArray[np.float16]:
    """The words of a text as one-hot vectors `[words of the text, len(words)]`, scaled to variance about 1."""
    vectors: Array = len(words) ** 0.5 * np.eye(len(words))[[words.index(word) for word in text.split()]]
    return vectors.astype(np.float16)
