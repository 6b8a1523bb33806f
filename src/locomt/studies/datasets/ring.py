"""Two to five modalities. Each pair of neighbours shares evidence that neither has alone.

The label is one of four, equally frequent. Every modality has a symbol of its own, one of four: with probability `own`
it is the label, otherwise any of the four. The modalities form a ring (two have one edge, m have m edges). Each edge
has two more symbols, one in the modality at either end. Their bitwise exclusive or is the label with probability
`pair`, otherwise any of the four. Each of the two by itself does not depend on the label. So an edge is of use only
with both of its ends, modalities that are not neighbours have nothing to tell each other, and a modality alone has
nothing but its own symbol. More modalities bring more evidence; `ceiling` says how far it goes.

A modality is a sequence of vectors. Each vector shows one symbol of the modality: the code that the symbol has in this
modality and place, plus normal noise with a standard deviation of `noise` (that of the codes is 1). The symbols are
shown about equally often and in random order. Lengths and widths differ: see `LENGTHS` and `WIDTHS`.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locomt.studies.datasets.data_set import DataSet, Settings, training, write_manifest

LENGTHS = (16, 6, 32, 8, 12)
WIDTHS = (16, 12, 24, 16, 12)
LABELS = ("0", "1", "2", "3")

Symbols = dict[tuple[int, int], int]
"""(modality, neighbour) -> symbol; (modality, itself) -> its own."""


def edges(count: int) -> list[tuple[int, int]]:
    """The pairs of neighbours in a ring of `count` modalities."""
    return sorted({(min(i, (i + 1) % count), max(i, (i + 1) % count)) for i in range(count)})


def draw_symbols(count: int, label: int, own: float, pair: float, random: np.random.Generator) -> Symbols:
    """Draw the symbols of one sample."""

    def evidence(reliability: float) -> int:
        return label if random.random() < reliability else int(random.integers(4))

    symbols = {(i, i): evidence(own) for i in range(count)}
    for i, j in edges(count):
        symbols[i, j] = int(random.integers(4))
        symbols[j, i] = symbols[i, j] ^ evidence(pair)
    return symbols


def draw_vectors(symbols: Symbols, settings: Settings, random: np.random.Generator) -> list[NDArray[np.float16]]:
    """Draw the sequences `[LENGTHS[i], WIDTHS[i]]` of all modalities."""
    sequences = []
    for i in range(settings["modalities"]):
        places = [place for place in symbols if place[0] == i]
        order = random.permutation(np.arange(LENGTHS[i]) % len(places))
        code = _codes(settings["seed"], i)
        shown = np.stack([code[places[turn][1], symbols[places[turn]]] for turn in order])
        sequences.append((shown + random.normal(0, settings["noise"], shown.shape)).astype(np.float16))
    return sequences


@cache
def _codes(seed: int, modality: int) -> NDArray[np.float64]:
    """The codes of a modality `[5, 4, width]`: for each neighbour, or itself, and each symbol."""
    return np.random.default_rng((seed, modality)).normal(size=(5, 4, WIDTHS[modality]))


def ceiling(count: int, own: float, pair: float) -> float:
    """The best possible accuracy: that of reading every symbol without error."""
    # Each piece of evidence votes for a label; the weight of a vote is its log likelihood ratio.
    weights = [np.log(1 + 4 * reliability / (1 - reliability)) for reliability in (own, pair)]
    right = 0.0
    for mine, ours in product(_votes(count, own).items(), _votes(len(edges(count)), pair).items()):
        scores = weights[0] * np.array(mine[0]) + weights[1] * np.array(ours[0])
        best = np.flatnonzero(np.isclose(scores, scores.max()))
        right += float(mine[1] * ours[1] * (0 in best) / len(best))
    return right


def _votes(count: int, reliability: float) -> dict[tuple[int, ...], float]:
    """Number of votes for each label -> the probability of these numbers if the first label is the true one."""
    chance = [reliability + (1 - reliability) / 4, *[(1 - reliability) / 4] * 3]
    found: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for votes in product(range(4), repeat=count):
        found[tuple(votes.count(label) for label in range(4))] += float(np.prod([chance[vote] for vote in votes]))
    return dict(found)


def settings(count: int, full: bool) -> dict[str, Any]:
    sizes = {"train": 4000, "val": 400, "test": 1000} if full else {"train": 64, "val": 24, "test": 24}
    return {"modalities": count, **sizes, "own": 0.15, "pair": 0.6, "noise": 0.7, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    rows = []
    names = _names(settings["modalities"])
    for name in names:
        (folder / name).mkdir()
    for split in ("train", "val", "test"):
        random = np.random.default_rng((settings["seed"], settings["modalities"], *split.encode()))
        for number, label in enumerate(random.permutation(np.arange(settings[split]) % 4)):
            symbols = draw_symbols(settings["modalities"], int(label), settings["own"], settings["pair"], random)
            row = {"id": f"{split}-{number:04d}", "split": split, "label": LABELS[label]}
            for name, vectors in zip(names, draw_vectors(symbols, settings, random), strict=True):
                row[name] = f"{name}/{row['id']}.npy"
                np.save(folder / row[name], vectors)
            rows.append(row)
    write_manifest(folder, rows)


def _names(count: int) -> tuple[str, ...]:
    return ("first", "second", "third", "fourth", "fifth")[:count]


def recipe(count: int, full: bool) -> dict[str, Any]:
    return {
        "model": {"dim": 32, "heads": 8, "depth": 3, "fusion_layers": 2, "strategy": "spread", "mlp_ratio": 2.0},
        "data": {
            "manifest": "manifest.csv",
            "labels": list(LABELS),
            "modalities": {
                name: {"kind": "features", "column": name, "dim": width, "max_length": length}
                for name, width, length in zip(_names(count), WIDTHS, LENGTHS, strict=False)
            },
            "cache": True,
        },
        "train": training(full, epochs=3, batch_size=32),
    }


def _data_set(count: int) -> DataSet:
    return DataSet(
        name=f"modalities{count}",
        about=f"Which of four labels symbols in {count} sequences speak for, most of them read in pairs of neighbours.",
        settings=lambda full: settings(count, full),
        write=write,
        recipe=lambda full: recipe(count, full),
    )


DATA_SETS = tuple(_data_set(count) for count in (2, 3, 4, 5))
