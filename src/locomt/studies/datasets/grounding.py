"""Grounding: which cell of a picture does a phrase mean? Colours and shapes are in pairs that training never had.

A picture has eight things in sixteen cells: two sizes of two colours of two shapes, every combination once. So each of
the three words of a phrase, `large red circle`, halves what is left, and no thing stands out. Every cell is labelled,
`target` or `other`. Given the phrase alone, all sixteen cells are equally likely; given the picture alone, all eight
things are.

Pairs of colour and shape are divided among the splits as for question answering. A training picture shows four of the
24 training pairs. A picture of validation or test shows the held-out pair of its phrase and three training pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locomt.studies.datasets.data_set import DataSet, Settings, training, write_manifest
from locomt.studies.datasets.pictures import COLOURS, SHAPES, SIZES, Pair, Thing, cell_numbers, draw, pairs_of, spell

SIDE = 4
LABELS = ("other", "target")
WORDS = (*SIZES, *COLOURS, *SHAPES)

Cells = list[Thing | None]
Compose = Callable[[Thing, np.random.Generator], Cells]
"""Target thing, random -> the cells of a picture, or frames of a clip, in which it is one of eight things."""
Render = Callable[[Cells, float, np.random.Generator], NDArray[np.float16]]
"""Cells, standard deviation of the noise as a share of the range, random -> the input of models."""


@cache
def partners(asked: Pair) -> tuple[Pair, ...]:
    """Pairs (c, s) of another colour and shape such that (c, s), (c, shape) and (colour, s) are training pairs."""
    train, (colour, shape) = set(pairs_of("train")), asked
    others = ((c, s) for c, s in product(COLOURS, SHAPES) if c != colour and s != shape)
    return tuple((c, s) for c, s in others if train.issuperset(((colour, s), (c, shape), (c, s))))


def eight(target: Thing, random: np.random.Generator) -> list[Thing]:
    """Draw two sizes of two colours of two shapes, with this thing among the eight."""
    choices = partners((target.colour, target.shape))
    colour, shape = choices[random.integers(len(choices))]
    return [Thing(*words) for words in product(SIZES, (target.colour, colour), (target.shape, shape))]


def compose(target: Thing, random: np.random.Generator) -> Cells:
    """Draw the cells of a picture in which this thing is one of eight."""
    cells: Cells = [None] * SIDE**2
    things = eight(target, random)
    for place, thing in zip(random.permutation(SIDE**2), things, strict=False):
        cells[place] = thing
    return cells


def settings(full: bool) -> dict[str, Any]:
    sizes = {"train": 4000, "val": 400, "test": 1000} if full else {"train": 64, "val": 24, "test": 24}
    return {**sizes, "noise": 0.3, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    write_asked(folder, settings, "picture", compose, draw)


def write_asked(folder: Path, settings: Settings, shown: str, compose: Compose, render: Render) -> None:
    """Write samples of a phrase and what is `shown`, a picture or a clip. The things of a split take turns."""
    for name in (shown, "phrase"):
        (folder / name).mkdir()
    rows = []
    for split in ("train", "val", "test"):
        random = np.random.default_rng((settings["seed"], *split.encode()))
        targets = [Thing(size, *pair) for size, pair in product(SIZES, pairs_of(split))]
        for number, turn in enumerate(random.permutation(settings[split])):
            target = targets[turn % len(targets)]
            cells = compose(target, random)
            phrase = f"{target.size} {target.colour} {target.shape}"
            row = {"id": f"{split}-{number:04d}", "split": split, "text": f"the {phrase}"}
            row |= {shown: f"{shown}/{row['id']}.npy", "phrase": f"phrase/{phrase.replace(' ', '-')}.npy"}
            row["label"] = ";".join(LABELS[cell == target] for cell in cells)
            np.save(folder / row["phrase"], spell(phrase, WORDS))
            np.save(folder / row[shown], render(cells, settings["noise"], random))
            rows.append(row)
    write_manifest(folder, rows)


def recipe(full: bool) -> dict[str, Any]:
    return asked_recipe(full, "picture", cell_numbers(SIDE), SIDE**2)


def asked_recipe(full: bool, shown: str, numbers: int, places: int) -> dict[str, Any]:
    """The recipe for phrases about one of the `places` of the modality `shown`, each of so many `numbers`."""
    return {
        "model": {"dim": 32, "heads": 4, "depth": 4, "fusion_layers": 4, "strategy": "spread", "mlp_ratio": 2.0},
        "data": {
            "manifest": "manifest.csv",
            "labels": list(LABELS),
            "modalities": {
                shown: {"kind": "features", "column": shown, "dim": numbers, "max_length": places},
                "phrase": {"kind": "features", "column": "phrase", "dim": len(WORDS), "max_length": 3},
            },
            "steps": [shown],
            "cache": True,
        },
        "train": training(full, epochs=4, batch_size=64) | {"monitor": "f1"},
    }


DATA_SET = DataSet(
    name="grounding",
    about="Which cell of a picture a phrase means, in pairs of colour and shape that training never showed or named.",
    settings=settings,
    write=write,
    recipe=recipe,
)
