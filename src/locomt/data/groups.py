"""Samples that belong together (of one speaker, one recording) and lie in several splits, where a score then says
little of speakers and recordings that are new."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from locomt.data.row import Row
from locomt.hints import listed

COLUMN = "group"
"""The column that says which rows belong together, where a manifest has it."""
PIECE = re.compile(r"(?:[_\-.#:/ ]\d+(?:\.\d+)?)+$")
"""What tells the pieces of a recording apart at the end of an id: `_07`, `-12.5-22.5`."""
USUAL = ("speaker", "subject", "patient", "person", "actor", "recording", "video", "session")
"""What columns of groups are called otherwise, with or without `_id`."""
FEWEST = 3
"""Stems of ids in several splits from which on they are no accident."""


def group_note(rows: Sequence[Row], splits: Collection[str], column: str | None = None) -> str | None:
    """A line on groups that lie in several splits, if any: those of the column that is named, or of `group`; without
    either, those of a column that is called as groups usually are, or that the ids suggest.

    Ids suggest groups where what is left of them without a number at their end is there more than once, and there are
    more of those than twice the classes: fewer are names of classes or of the data set.
    """
    used = [row for row in rows if row.split in splits]
    if not used:
        return None
    cells = used[0].cells
    told = next((name for name in (column, COLUMN) if name in cells), None)
    for name in [told] if told else [name for name in cells if name.strip().casefold().removesuffix("_id") in USUAL]:
        torn = _torn((row.cells[name].strip(), row.split) for row in used)
        if torn:
            advice = (
                "keep each in one split" if told else f"if these are groups, data.group {name} deals them out whole"
            )
            return (
                f"{len(torn)} groups (column {name!r}) lie in several splits, such as {_shown(torn)}: scores say "
                f"little of new groups; {advice}"
            )
    if told:
        return None
    stems = [(row.id[: found.start()], row.split) for row in used if (found := PIECE.search(row.id))]
    several = {stem for stem, _ in stems}
    torn = _torn(stems)
    classes = {row.cells.get("label", "") for row in used}
    if len(torn) < FEWEST or len(several) <= 2 * len(classes) or len(stems) < 1.5 * len(several):
        return None
    return (
        f"ids suggest that pieces of one recording or person lie in several splits, {len(torn)} of them, such as "
        f"{_shown(torn)}: if so, scores say little of new ones; keep each in one split, named in a column {COLUMN!r}"
    )


def _torn(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group -> its splits, of those that have several; what has no name is no group."""
    found: dict[str, dict[str, None]] = {}
    for group, split in pairs:
        if group:
            found.setdefault(group, {})[split] = None
    return {group: list(splits) for group, splits in found.items() if len(splits) > 1}


def _shown(torn: Mapping[str, Sequence[str]]) -> str:
    group, splits = next(iter(sorted(torn.items())))
    return f"{group!r} in {listed(splits)}"
