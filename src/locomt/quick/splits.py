"""Splits for samples that have none: seeded, every class in each, groups never apart."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from locomt.data.row import Row
from locomt.tasks import TASKS

SPLITS = ("train", "val", "test")
LARGE = 1000
"""From so many samples on a tenth each is enough to choose and to test by; of fewer a fifth is taken."""
FEW = 3
"""Samples of a kind that can be in every split."""


def with_splits(rows: Sequence[Row], task: str, seed: int) -> list[Row]:
    """The rows, each with a split. Splits that the source gives stay; `val` and `test`, where missing, come out of the
    training samples.

    Classes are dealt out one by one, so that each is in all splits as far as it has samples, and in training first;
    numbers are dealt out in their order. All rows of one `group` stay together.

    Args:
        rows: of `read_source`.
        task: a name in `TASKS`.
        seed: of the order within a class.
    """
    there = {row.split for row in rows if row.split}
    share = 0.1 if len(rows) >= LARGE else 0.2
    shares = {name: share for name in SPLITS[1:] if name not in there}
    shares["train"] = 1 - sum(shares.values())
    open_rows = [row for row in rows if row.split in ("", "train")]
    chosen = _deal(open_rows, shares, task, seed) if len(shares) > 1 else {row.id: "train" for row in open_rows}
    return [Row(row.number, row.cells | {"split": chosen.get(row.id, row.split)}) for row in rows]


def _deal(rows: Sequence[Row], shares: Mapping[str, float], task: str, seed: int) -> dict[str, str]:
    """Id -> split: the first unit of each stratum is for training, any other for the split that is furthest behind its
    share, of all that was dealt so far: a stratum of few units would leave the later splits nothing."""
    units: dict[str, list[Row]] = {}
    for row in rows:
        group = row.cells.get("group", "").strip()
        units.setdefault(f"group {group}" if group else f"row {row.id}", []).append(row)
    order = sorted(units.values(), key=lambda unit: unit[0].id)
    random.Random(seed).shuffle(order)
    names = ("train", *(name for name in SPLITS[1:] if name in shares))  # the first of those that are equally far
    chosen: dict[str, str] = {}
    total, counts = 0, Counter[str]()
    for stratum in _strata(order, task):
        for place, unit in enumerate(stratum):
            total += len(unit)
            behind = {name: shares[name] * total - counts[name] for name in names}
            split = max(names, key=lambda name: round(behind[name], 9)) if place else names[0]
            counts[split] += len(unit)
            chosen |= {row.id: split for row in unit}
    return chosen


def _strata(units: Sequence[list[Row]], task: str) -> list[list[list[Row]]]:
    """Units of one kind together. Where labels are names joined or events, rare combinations are one kind."""
    if not TASKS[task].has_classes:
        return [sorted(units, key=lambda unit: _amount(unit[0].label))]
    kinds: dict[str, list[list[Row]]] = {}
    for unit in units:
        kinds.setdefault(Counter(row.label for row in unit).most_common(1)[0][0], []).append(unit)
    if not TASKS[task].several:
        return list(kinds.values())
    rest = [unit for kind in kinds.values() if len(kind) < FEW for unit in kind]
    return [*(kind for kind in kinds.values() if len(kind) >= FEW), rest]


def _amount(label: str) -> float:
    """A slip among numbers, which will be a bad sample, comes last."""
    try:
        return float(label)
    except ValueError:
        return math.inf
