"""Splits for samples that have none."""

from __future__ import annotations

from collections.abc import Sequence

from locomt.data.dealing import deal
from locomt.data.groups import COLUMN
from locomt.data.row import Row
from locomt.tasks import TASKS

SPLITS = ("train", "val", "test")
LARGE = 1000
"""From so many samples on a tenth each is enough to choose and to test by; of fewer a fifth is taken."""


def with_splits(rows: Sequence[Row], task: str, seed: int) -> list[Row]:
    """The rows, each with a split. Splits that the source gives stay; `val` and `test`, where missing, come out of the
    training samples, as `locomt.data.dealing.deal` has it. All rows of one `group` stay together.

    Args:
        rows: of `read_source`.
        task: a name in `TASKS`.
        seed: of the order within a class.

    Raises:
        ValueError: there are fewer groups than splits.
    """
    there = {row.split for row in rows if row.split}
    share = 0.1 if len(rows) >= LARGE else 0.2
    shares = {name: share for name in SPLITS[1:] if name not in there}
    shares = {"train": 1 - sum(shares.values())} | shares
    open_rows = [row for row in rows if row.split in ("", "train")]
    grouped = any(row.cells.get(COLUMN, "").strip() for row in open_rows)
    chosen = deal(open_rows, shares, TASKS[task](), seed, COLUMN if grouped else None)
    return [Row(row.number, row.cells | {"split": chosen.get(row.id, row.split)}) for row in rows]
