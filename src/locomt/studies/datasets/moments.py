"""Moments: which frames of a clip does a phrase mean? Colours and shapes are in pairs that training never had.

A clip has 32 frames and shows eight things one after the other, each for two to four frames. They are two sizes of two
colours of two shapes, every combination once, as in a picture of `grounding`. So each of the three words of a phrase,
`large red circle`, halves what is left. No thing stands out: order and lengths are random. The remaining frames, none
to sixteen, are blank; they lie before, between and after the things. Every frame is labelled, `target` or `other`; on
average 3 of the 32 are the target. Given the phrase alone, a frame is the target with a chance of about 1 in 10 (the
first and the last 1 in 16). Given the clip alone, each of the eight things is with a chance of 1 in 8.

A frame is drawn like one cell of a picture. Shift, radius, tint and noise change from frame to frame; the ground is the
same in the whole clip. A frame's vector ends with its place in time, as sines and cosines.

Pairs of colour and shape are divided among the splits as for `grounding`. A training clip shows four of the 24 training
pairs. A clip of validation or test shows the held-out pair of its phrase and three training pairs.
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
"""For how many frames a thing may be shown. Eight of the longest fit into a clip."""


def compose(target: Thing, random: np.random.Generator) -> Cells:
    """Draw the frames of a clip in which this thing is one of eight."""
    runs: list[Cells] = [[thing] * int(random.choice(LENGTHS)) for thing in eight(target, random)]
    runs += [[None]] * (FRAMES - sum(map(len, runs)))
    return [frame for place in random.permutation(len(runs)) for frame in runs[place]]


def draw(frames: Cells, noise: float, random: np.random.Generator) -> NDArray[np.float16]:
    """Draw a clip `[FRAMES, 3 PIXELS^2 + 2 WAVES]`: each frame's pixels, then its place in time."""
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
