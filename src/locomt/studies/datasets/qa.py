"""Question answering over a picture: how many of its things have a colour, a shape, or both? The pairs are new.

A picture has nine cells. Four to seven of them have a thing: a shape of a colour, of a size that does not matter.
Questions are `how many red things`, `how many coloured circles` and `how many red circles`. Models get the last two
words, which differ. The answer is none, one, two or three.

Of the 36 pairs of colour and shape, 24 are for training: no training picture shows another pair, and no training
question is about one. 6 pairs are for validation and 6 for test. Each 6 are a diagonal of the square of pairs, so they
have every colour and every shape once. A picture of these splits shows the pair in question beside training pairs, and
all their questions are about colour and shape. In training the three forms of the question are equally frequent. In
every split each question has each answer equally often, and the number of things in a picture does not depend on the
answer. So the question alone says nothing.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from locomt.studies.datasets.data_set import DataSet, Settings, training, write_manifest
from locomt.studies.datasets.pictures import COLOURS, SHAPES, SIZES, Pair, Thing, cell_numbers, draw, pairs_of, spell

SIDE = 3
ANSWERS = ("none", "one", "two", "three")
WORDS = ("coloured", *COLOURS, *(f"{shape}s" for shape in SHAPES), "things")


def questions(split: str) -> list[tuple[Pair, ...]]:
    """The questions of a split, a list for each form."""
    forms: list[tuple[Pair, ...]] = [pairs_of(split)]
    if split == "train":
        forms += [tuple((colour, "") for colour in COLOURS), tuple(("", shape) for shape in SHAPES)]
    return forms


def plan(split: str, count: int, random: np.random.Generator) -> list[tuple[Pair, int]]:
    """Draw `count` questions with answers, in random order. Forms, questions and answers are equally frequent."""
    forms = []
    for asked in questions(split):
        rounds = list(product(asked, range(len(ANSWERS))))
        forms.append([rounds[i] for i in random.permutation(len(rounds))])
    turns = (divmod(n, len(forms)) for n in range(count))
    rows = [forms[form][turn % len(forms[form])] for turn, form in turns]
    return [rows[i] for i in random.permutation(count)]


def compose(asked: Pair, answer: int, random: np.random.Generator) -> list[Thing | None]:
    """Draw the cells of a picture in which `answer` things fit the question. All others are of training pairs."""
    train = pairs_of("train")
    fit = [pair for pair in train if _fits(pair, asked)] or [asked]
    other = [pair for pair in train if not _fits(pair, asked)]
    things = [fit[random.integers(len(fit))] for _ in range(answer)]
    things += [other[random.integers(len(other))] for _ in range(random.integers(4, 8) - answer)]
    cells: list[Thing | None] = [None] * SIDE**2
    for place, (colour, shape) in zip(random.permutation(SIDE**2), things, strict=False):
        cells[place] = Thing(tuple(SIZES)[random.integers(len(SIZES))], colour, shape)
    return cells


def _fits(pair: Pair, asked: Pair) -> bool:
    return all(wanted in ("", trait) for trait, wanted in zip(pair, asked, strict=True))


def settings(full: bool) -> dict[str, Any]:
    sizes = {"train": 9000, "val": 600, "test": 1200} if full else {"train": 64, "val": 24, "test": 24}
    return {**sizes, "noise": 0.05, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    for name in ("picture", "question"):
        (folder / name).mkdir()
    rows = []
    for split in ("train", "val", "test"):
        random = np.random.default_rng((settings["seed"], *split.encode()))
        for number, ((colour, shape), answer) in enumerate(plan(split, settings[split], random)):
            words = f"{colour or 'coloured'} {shape + 's' if shape else 'things'}"
            row = {"id": f"{split}-{number:04d}", "split": split, "label": ANSWERS[answer], "text": f"how many {words}"}
            row |= {"picture": f"picture/{row['id']}.npy", "question": f"question/{words.replace(' ', '-')}.npy"}
            np.save(folder / row["question"], spell(words, WORDS))
            np.save(folder / row["picture"], draw(compose((colour, shape), answer, random), settings["noise"], random))
            rows.append(row)
    write_manifest(folder, rows)


def recipe(full: bool) -> dict[str, Any]:
    return {
        "model": {"dim": 32, "heads": 4, "depth": 4, "fusion_layers": 4, "strategy": "spread", "mlp_ratio": 2.0},
        "data": {
            "manifest": "manifest.csv",
            "labels": list(ANSWERS),
            "modalities": {
                "picture": {"kind": "features", "column": "picture", "dim": cell_numbers(SIDE), "max_length": SIDE**2},
                "question": {"kind": "features", "column": "question", "dim": len(WORDS), "max_length": 2},
            },
            "cache": True,
        },
        "train": training(full, epochs=5, batch_size=64),
    }


DATA_SET = DataSet(
    name="qa",
    about="How many things in a picture are of a colour and of a shape, in pairs that training never showed or asked.",
    settings=settings,
    write=write,
    recipe=recipe,
)
