"""Manifests: one sample a row, from CSV, JSON lines or Parquet, a folder per class or shards."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from locomt.data.cells import text_of
from locomt.data.errors import ManifestError
from locomt.data.folder import read_folder
from locomt.data.row import Row
from locomt.data.shards.index import read_samples
from locomt.hints import did_you_mean

LONGEST_CELL = 16 * 1024 * 1024
"""Characters. The csv module's own limit of 131,072 is shorter than the subtitles of a long video."""


def read_manifest(path: str | Path, columns: Iterable[str] = ("id", "split", "label")) -> list[Row]:
    """Read all rows of a manifest.

    Args:
        path: a `.csv`, `.jsonl`, `.ndjson` or `.parquet` file, text in UTF-8; the `shards.json` that `locomt prepare`
            wrote; or a folder with a folder of files for each class, see `locomt.data.folder`.
        columns: those it must have.

    Raises:
        ManifestError: it is no such file, a column is missing, a row does not fit the columns, or an id is empty or
            there twice. Names the line.
        OSError: it cannot be read.
    """
    path, columns = Path(path), tuple(columns)
    rows = read_table(path)
    for name in columns:
        if name not in rows[0].cells:
            raise ManifestError(path, _missing_column(name, list(rows[0].cells)))
    _check_ids(path, rows, splits="split" in columns)
    return rows


def read_table(path: Path) -> list[Row]:
    """The rows of what `read_manifest` reads, one at least and all of the same columns, whatever these are.

    Raises:
        ManifestError: it is no such file, or a row does not fit the columns. Names the line.
        OSError: it cannot be read.
    """
    if path.exists() and not (path.is_dir() or path.is_file()):
        raise ManifestError(path, "expected a file or a folder, got a device or a pipe; write the manifest to a file")
    reader = read_folder if path.is_dir() else _read_shards if is_shards(path) else READERS.get(path.suffix.lower())
    if reader is None:
        hint = "; write it with commas between the cells, as .csv" if path.suffix.lower() in (".tsv", ".tab") else ""
        raise ManifestError(path, f"expected a manifest that ends in {', '.join(READERS)}, got {path.suffix!r}{hint}")
    if not path.exists():
        raise FileNotFoundError(f"expected a manifest, but there is no file {path}")
    try:
        rows = list(reader(path))
    except UnicodeDecodeError as error:
        raise ManifestError(path, f"expected text in UTF-8, got {error.object[error.start]:#04x}") from None
    if not rows:
        raise ManifestError(path, "expected a row a sample, got none")
    known = list(dict.fromkeys(name for row in rows for name in row.cells))
    return [Row(row.number, dict.fromkeys(known, "") | row.cells) for row in rows]


def _missing_column(name: str, known: Sequence[str]) -> str:
    way = "add it, or have samples dealt out by data.split" if name == "split" else "name it in the recipe or add it"
    hint = did_you_mean(name, known, way)
    return f"expected a column {name!r}, got {', '.join(map(repr, known))}; {hint}"


def _check_ids(path: Path, rows: Iterable[Row], *, splits: bool) -> None:
    lines: dict[str, int] = {}
    for row in rows:
        if not row.id:
            raise ManifestError(path, f"line {row.number}: expected an id, got an empty cell")
        if row.id in lines:
            raise ManifestError(path, f"line {row.number}: id {row.id!r} is that of line {lines[row.id]} already")
        lines[row.id] = row.number
        if splits and not row.split:
            raise ManifestError(path, f"line {row.number}: expected the name of a split, got an empty cell")


def _read_csv(path: Path) -> Iterator[Row]:
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _csv_lines(path, csv.reader(file, strict=True))
            _, header = next(lines, (1, []))
            header = [name.strip() for name in header]
            for place, name in enumerate(header):
                if not name or name in header[:place]:
                    what = f"column {name!r} twice" if name else "a column without a name"
                    raise ManifestError(path, f"line 1: {what}; every column needs a name of its own")
            for line, cells in lines:
                if len(cells) != len(header):
                    raise ManifestError(
                        path,
                        f"line {line}: expected {len(header)} cells as in the header, got {len(cells)}; a cell that "
                        "holds a comma is put in double quotes",
                    )
                yield Row(line, dict(zip(header, cells, strict=True)))
    finally:
        csv.field_size_limit(limit)


def _csv_lines(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers, that of the header checked for what separates its cells."""
    header = True
    while True:
        line = reader.line_num + 1  # where the row begins: a quoted cell may run over several lines
        try:
            cells = next(reader, None)
        except csv.Error as error:
            _check_separator(path, line == 1)
            raise ManifestError(path, f"line {line}: {error}") from None
        if cells is None:
            return
        if not cells:
            continue
        if header:
            _check_separator(path, "id" not in map(str.strip, cells))
            header = False
        yield line, cells


def _check_separator(path: Path, suspected: bool) -> None:
    """Refuse a file whose first line has its column `id` only where something else than a comma separates them."""
    if not suspected:
        return
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline(LONGEST_CELL).strip("\n")
    for separator, name in ((";", "';'"), ("\t", "tabs"), ("|", "'|'"), (" ", "spaces")):
        names = [cell.strip(" \"'").lower() for cell in first.split(separator)]
        if {"id", "split"} <= set(names) or first.lower() == f"sep={separator}":
            raise ManifestError(path, f"line 1: expected commas between the cells, got {name}; save it with commas")


def _read_json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line, object_pairs_hook=_without_twins)
            except (ValueError, RecursionError) as error:  # numbers and nesting beyond all bounds are no syntax errors
                where = f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else error
                raise ManifestError(path, f"line {number}: not valid JSON: {where}") from None
            if not isinstance(entry, dict):
                raise ManifestError(path, f"line {number}: expected an object {{...}}, got {line.strip()!r:.40}")
            yield _typed_row(path, number, entry)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return entry


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ManifestError(
            path, "Parquet needs pyarrow: pip install 'locomt[parquet]', or write the manifest as CSV"
        ) from None
    try:
        table = pyarrow.parquet.read_table(path)
        columns = {name: _values(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ManifestError(path, f"not a Parquet file that can be read: {error}") from None
    if len(columns) < len(table.column_names):
        raise ManifestError(path, f"a column twice; every column needs a name of its own, got {table.column_names}")
    for number, cells in enumerate(zip(*columns.values(), strict=True), start=1):
        yield _typed_row(path, number, dict(zip(columns, cells, strict=True)))


def _values(column: Any) -> list[Any]:
    """A column's cells; those of a shorter float as they print, 0.1 and not 0.10000000149011612."""
    import pyarrow

    short = (pyarrow.float16(), pyarrow.float32())
    if column.type in short:
        return [text and float(text) for text in column.cast(pyarrow.string()).to_pylist()]
    if getattr(column.type, "value_type", None) in short and hasattr(column.type, "value_field"):  # lists of them
        texts = column.cast(pyarrow.list_(pyarrow.string())).to_pylist()
        return [cell and [text and float(text) for text in cell] for cell in texts]
    return list(column.to_pylist())


def _typed_row(path: Path, number: int, entry: Mapping[str, Any]) -> Row:
    cells = {}
    for name, value in entry.items():
        try:
            cells[name] = text_of(value, label=name == "label")
        except ValueError as error:
            raise ManifestError(path, f"line {number}: column {name!r}: {error}") from None
    return Row(number, cells)


READERS = {".csv": _read_csv, ".jsonl": _read_json_lines, ".ndjson": _read_json_lines, ".parquet": _read_parquet}
"""How a file's name ends -> what reads its rows."""


def is_shards(manifest: Path) -> bool:
    """Whether a manifest is the index of a folder of shards."""
    return manifest.name == "shards.json"


def _read_shards(path: Path) -> Iterator[Row]:
    return (row for row, _ in read_samples(path))
