"""The rows of a recipe's manifest, each with its split; where the recipe says so, dealt out to splits: seeded, every
class in each as far as it goes, groups never apart."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from locomt.data.config import DataConfig
from locomt.data.errors import ManifestError
from locomt.data.groups import COLUMN
from locomt.data.manifest import read_manifest, read_table
from locomt.data.row import Row
from locomt.hints import did_you_mean
from locomt.require import ConfigError, require
from locomt.tasks import Task

FEW = 3
"""Samples of a kind that can be in every split."""
RANGES = 5
"""Of numbers, as many samples in each, that groups are dealt out by as by classes."""
ALL = ("all",)
"""What every sample is one of, so that splits have their share of the samples too."""


def read_rows(config: DataConfig) -> list[Row]:
    """The rows of the manifest, in its order, with the split that the manifest or `data.split` gives each.

    Raises:
        ManifestError: the manifest cannot be read, or its rows cannot be dealt out as the recipe says.
        OSError: a file cannot be read.
    """
    manifest, split = Path(config.manifest), config.split
    dealt = [name for name in config.columns if name != "split"] if split else config.columns
    rows = read_manifest(manifest, (*dealt, config.group) if config.group else dealt)
    if split is None:
        return rows
    if split.table is not None:
        chosen = read_splits(Path(split.table))
        if not any(row.id in chosen for row in rows):
            raise ManifestError(manifest, f"not one id of it is in {split.table} (data.split.table)")
        return [_placed(row, chosen.get(row.id, "")) for row in rows]
    shares = {config.train_split: 1.0, config.val_split: split.val, config.test_split: split.test}
    kept = [name for name, share in shares.items() if share is None]
    if kept and "split" not in rows[0].cells:
        raise ManifestError(
            manifest, f"data.split keeps the rows of split {kept[0]!r} (null), but there is no column 'split'"
        )
    wanted = {name: share for name, share in shares.items() if share}
    wanted[config.train_split] -= sum(share for name, share in wanted.items() if name != config.train_split)
    open_rows = [row for row in rows if not kept or row.split not in kept]
    group = config.group or (COLUMN if COLUMN in rows[0].cells else None)
    try:
        chosen = deal(open_rows, wanted, config.target, split.seed, group)
    except ConfigError as error:
        raise ManifestError(manifest, f"data.split: {error}") from None
    return [_placed(row, chosen[row.id]) if row.id in chosen else row for row in rows]


def read_splits(table: Path) -> dict[str, str]:
    """Id -> split, as a table has them.

    Raises:
        ManifestError: it is no such table.
        OSError: it cannot be read.
    """
    if not table.is_file():
        raise FileNotFoundError(
            f"data.split.table: expected a table with columns id and split, but there is no {table}"
        )
    rows = read_table(table)
    for name in ("id", "split"):
        if name not in rows[0].cells:
            known = list(rows[0].cells)
            hint = did_you_mean(name, known, "add it")
            raise ManifestError(table, f"expected a column {name!r}, got {', '.join(map(repr, known))}; {hint}")
    return {row.id: row.split for row in rows}


def _placed(row: Row, split: str) -> Row:
    return replace(row, cells=row.cells | {"split": split})


def deal(
    rows: Sequence[Row], shares: Mapping[str, float], task: Task, seed: int, group: str | None = None
) -> dict[str, str]:
    """Id -> split.

    Without groups, samples are dealt out class by class, or numbers in their order: the first of a class to training,
    each other one to the split that is furthest behind its share, the first of those that are equally far. Groups are
    dealt out whole, the largest first: each goes where it takes splits nearest to their shares, of all samples and of
    each class.

    Args:
        rows: with ids and labels.
        shares: split -> share of the samples, the training split first; they come to 1.
        task: says what the labels are.
        seed: of the order within a class, and of groups of one size.
        group: the column that says which rows stay together; rows without one are groups by themselves.

    Raises:
        ConfigError: there are fewer groups than splits.
    """
    units = _units(rows, group)
    require(
        not group or len(units) >= len(shares),
        f"expected {len(shares)} groups or more in column {group!r}, one for each of {', '.join(shares)}, "
        f"got {len(units)}",
    )
    order = sorted(units, key=lambda unit: unit[0].id)
    random.Random(seed).shuffle(order)
    whole = any(len(unit) > 1 for unit in units)
    return _deal_groups(order, shares, task) if whole else _deal_samples([row for (row,) in order], shares, task)


def _units(rows: Sequence[Row], column: str | None) -> list[list[Row]]:
    """Rows that stay together."""
    units: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        group = row.cells.get(column, "").strip() if column else ""
        units.setdefault(("group", group) if group else ("row", row.id), []).append(row)
    return list(units.values())


def _deal_samples(rows: Sequence[Row], shares: Mapping[str, float], task: Task) -> dict[str, str]:
    """The first of each stratum is for training, any other for the split that is furthest behind its share of all that
    was dealt so far: strata of few samples would else leave the later splits nothing."""
    chosen: dict[str, str] = {}
    total, counts = 0, Counter[str]()
    for stratum in _strata(rows, task):
        for place, row in enumerate(stratum):
            total += 1
            behind = {name: round(share * total - counts[name], 9) for name, share in shares.items()}
            chosen[row.id] = max(shares, key=behind.__getitem__) if place else next(iter(shares))
            counts[chosen[row.id]] += 1
    return chosen


def _strata(rows: Sequence[Row], task: Task) -> list[list[Row]]:
    """Samples of one kind together. Where labels are names joined or events, rare combinations are one kind."""
    if not task.has_classes:
        return [sorted(rows, key=lambda row: _number(row.label))]
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.label, []).append(row)
    if not (task.several or task.stepwise):
        return list(kinds.values())
    rest = [row for kind in kinds.values() if len(kind) < FEW for row in kind]
    return [*(kind for kind in kinds.values() if len(kind) >= FEW), rest]


def _number(label: str) -> float:
    """The number of a label, the mean where steps have one each; 0 of what is none, whose row will be bad."""
    try:
        numbers = [float(part) for part in label.split(";")]
    except ValueError:
        return 0.0
    return mean if math.isfinite(mean := math.fsum(numbers) / len(numbers)) else 0.0


def _deal_groups(units: Sequence[Sequence[Row]], shares: Mapping[str, float], task: Task) -> dict[str, str]:
    kinds = _kinds([row for unit in units for row in unit], task)
    counts = [Counter(kind for row in unit for kind in kinds[row.id]) for unit in units]
    totals = sum(counts, Counter[tuple[str, ...]]())
    there: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    chosen: dict[str, str] = {}
    order = sorted(zip(units, counts, strict=True), key=lambda pair: -len(pair[0]))
    for left, (unit, own) in zip(range(len(order), 0, -1), order, strict=True):
        empty = [name for name in shares if name not in there]
        open_splits = empty if left <= len(empty) else list(shares)

        def further(split: str, own: Counter[tuple[str, ...]] = own) -> float:
            """By how much squares of what splits have beyond their shares grow, over what there is of each kind."""
            return sum(
                count * (2 * (there[split][kind] - shares[split] * totals[kind]) + count) / totals[kind]
                for kind, count in own.items()
            )

        best = min(open_splits, key=further)
        there[best] += own
        chosen |= {row.id: best for row in unit}
    return chosen


def _kinds(rows: Sequence[Row], task: Task) -> dict[str, list[tuple[str, ...]]]:
    """Id -> what a sample counts as: one of all, and one of each of its classes or of a range of numbers."""
    if task.has_classes:
        return {row.id: [ALL, *(("class", name) for name in sorted(set(task.names(row.label))))] for row in rows}
    numbers = sorted(_number(row.label) for row in rows)
    bounds = [numbers[len(numbers) * place // RANGES] for place in range(1, RANGES)]
    return {row.id: [ALL, ("range", str(bisect_right(bounds, _number(row.label))))] for row in rows}
