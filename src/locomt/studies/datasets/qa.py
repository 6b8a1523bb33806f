"""Question answering over a picture: how many of its things are of a colour, of a shape, or both, in new pairs.

A picture has nine cells, four to seven of which have a thing: a shape of a colour and of a size that does not matter.
Questions are `how many red things`, `how many coloured circles`, `how many red circles`, of which models get the two
words that differ; the answer is none, one, two or three.

Of the 36 pairs of colour and shape, 24 are for training: in training there is no picture that shows another pair and
no question about one. 6 pairs come in validation and 6 in test; each colour and each shape is once among the 6 (a
diagonal of the square of pairs). A picture of these splits shows the one that is asked about beside training pairs, and
all questions are about both traits. In training the three forms of the question are equally frequent. In all splits
every question has each answer equally often, and how many things a picture has does not depend on the answer. So the
question alone says nothing.
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
    """What is asked in a split, one list a form of the question."""
    forms: list[tuple[Pair, ...]] = [pairs_of(split)]
    if split == "train":
        forms += [tuple((colour, "") for colour in COLOURS), tuple(("", shape) for shape in SHAPES)]
    return forms


def plan(split: str, count: int, random: np.random.Generator) -> list[tuple[Pair, int]]:
    """Questions and answers in a shuffled order: forms in turn, and in each its questions with each answer in turn."""
    forms = []
    for asked in questions(split):
        rounds = list(product(asked, range(len(ANSWERS))))
        forms.append([rounds[i] for i in random.permutation(len(rounds))])
    turns = (divmod(n, len(forms)) for n in range(count))
    rows = [forms[form][turn % len(forms[form])] for turn, form in turns]
    return [rows[i] for i in random.permutation(count)]


def compose(asked: Pair, answer: int, random: np.random.Generator) -> list[Thing | None]:
    """The cells of a picture with so many things that fit; all others are of training pairs."""
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
