"""Moments: which frames of a clip does the phrase mean, in pairs of colour and shape that training never had.

A clip has 32 frames and shows eight things one after the other, each for two to four frames: two sizes of two colours
of two shapes, every combination once, as a picture of `grounding` does. So each of the three words of a phrase,
`large red circle`, halves what is left, and no thing stands out: order and lengths are random. The frames that are
left, none to sixteen, are blank and lie before, between and after the things. Every frame is labelled, `target` or
`other`; on average 3 of the 32 are the target. A phrase alone gives a frame a chance of about 1 in 10 (the first and
the last 1 in 16), a clip alone each of eight things one of 1 in 8.

A frame is one cell as pictures have them, drawn anew: shift, radius, tint and noise change from frame to frame, the
ground is the clip's own. It ends with its place in time, as sines and cosines.

Pairs of colour and shape are divided as for `grounding`: a training clip shows four of the 24 training pairs; one of
validation or test shows the held-out pair that its phrase is about and three training pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locomt.studies.datasets.data_set import DataSet, Settings
from locomt.studies.datasets.grounding import Cells, asked_recipe, eight, write_asked
from locomt.studies.datasets.pictures import PIXELS, Thing, draw_pixels
from locomt.studies.datasets.temporal import WAVES, times

FRAMES = 32
LENGTHS = (2, 3, 4)
"""For how many frames a thing is shown; eight times the longest fits a clip."""


def compose(target: Thing, random: np.random.Generator) -> Cells:
    """The frames of a clip in which this thing is one of eight."""
    runs: list[Cells] = [[thing] * int(random.choice(LENGTHS)) for thing in eight(target, random)]
    runs += [[None]] * (FRAMES - sum(map(len, runs)))
    return [frame for place in random.permutation(len(runs)) for frame in runs[place]]


def draw(frames: Cells, noise: float, random: np.random.Generator) -> NDArray[np.float16]:
    """A clip `[FRAMES, 3 PIXELS^2 + 2 WAVES]`: of each frame the pixels, then its place in time."""
    return np.hstack([draw_pixels(frames, noise, random), times(FRAMES)]).astype(np.float16)


def settings(full: bool) -> dict[str, Any]:
    sizes = {"train": 4000, "val": 400, "test": 1000} if full else {"train": 64, "val": 24, "test": 24}
    return {**sizes, "noise": 0.3, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    write_asked(folder, settings, "clip", compose, draw)


def recipe(full: bool) -> dict[str, Any]:
    return asked_recipe(full, "clip", 3 * PIXELS**2 + 2 * WAVES, FRAMES)


DATA_SET = DataSet(
    name="moments",
    about="Which frames of a clip a phrase means, in pairs of colour and shape that training never showed or named.",
    settings=settings,
    write=write,
    recipe=recipe,
)
