"""Labelled samples as they come: a folder a class, a table, or the folder layout of Hugging Face's `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from locomt.data.errors import ManifestError
from locomt.data.folder import COLUMN
from locomt.data.manifest import read_manifest, read_table
from locomt.data.row import Row
from locomt.data.splits import usual_split

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = "file_name"
"""The column of such a table that names the file, relative to the table."""


def read_source(source: Path) -> list[Row]:
    """The samples: rows with `id`, `label` and `split`, whose cells name files relative to the source.

    - A table (CSV, JSON lines, Parquet) needs `label`; rows without `id` are numbered.
    - A folder with `metadata.csv` (or `.jsonl`, `.parquet`), or with one in each folder of a split, is read as
      `datasets` reads it: `file_name` is relative to the table, and `label` is needed.
    - Any other folder has a folder of files for each class, see `locomt.data.folder`.

    `split` is `train`, `val` or `test` where the source says so, and empty where it does not.

    Raises:
        ManifestError: there are no rows, no labels, or an id is there twice.
        OSError: it cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"expected a folder of clips or a table of them, but there is no {source}")
    if tables := _metadata(source):
        rows = list(_of_tables(source, tables))
    elif source.is_dir():
        rows = list(_of_folders(source))
    else:
        rows = read_table(source)
        if "label" not in rows[0].cells:
            raise ManifestError(source, f"expected a column 'label', got {', '.join(map(repr, rows[0].cells))}")
        rows = [_whole(row, number) for number, row in enumerate(rows, start=1)]
    rows = [row for row in rows if row.label]
    if not rows:
        raise ManifestError(source, "expected labels, but the column 'label' is empty in every row")
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise ManifestError(source, f"line {row.number}: id {row.id!r} is there twice")
        seen.add(row.id)
    return rows


def _whole(row: Row, number: int) -> Row:
    """The row with an id, and with the usual name of its split where it has one."""
    split = row.cells.get("split", "").strip()
    known = usual_split(split) or split
    return Row(row.number, {**row.cells, "id": row.cells.get("id", "").strip() or f"{number:06d}", "split": known})


def _of_folders(folder: Path) -> Iterator[Row]:
    """Rows of a folder a class. What its reader says of splits counts only where folders are named so."""
    rows = read_manifest(folder)
    given = all(usual_split(row.id.partition("/")[0]) for row in rows)
    return (row if given else Row(row.number, row.cells | {"split": ""}) for row in rows)


def _metadata(folder: Path) -> dict[Path, str]:
    """The tables of a folder in the layout of `datasets`: file -> the split that it belongs to, or nothing."""
    if not folder.is_dir():
        return {}
    if found := [folder / name for name in METADATA if (folder / name).is_file()]:
        return {found[0]: ""}
    below = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        for name in METADATA:
            if (place / name).is_file():
                below[place / name] = usual_split(place.name) or place.name
                break
    return below


def _of_tables(folder: Path, tables: dict[Path, str]) -> Iterator[Row]:
    number = 0
    for table, split in tables.items():
        for row in read_table(table):
            number += 1
            for name in (FILE_NAME, "label"):
                if name not in row.cells:
                    raise ManifestError(table, f"expected a column {name!r}, got {', '.join(map(repr, row.cells))}")
            cells = {name: cell for name, cell in row.cells.items() if name != FILE_NAME}
            place = (table.parent / row.cells[FILE_NAME].strip()).relative_to(folder).as_posix()
            own = {"split": split} if split else {}
            yield _whole(Row(row.number, {**cells, COLUMN: place, **own, "id": cells.get("id") or place}), number)
