"""Manifests: one sample a row, from CSV, JSON lines or Parquet, a folder per class or shards."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from locomt.data.errors import ManifestError
from locomt.hints import did_you_mean

LONGEST_CELL = 16 * 1024 * 1024
"""Characters. The csv module's own limit of 131,072 is shorter than the subtitles of a long video."""


@dataclass(frozen=True)
class Row:
    """One sample as the manifest has it.

    Attributes:
        number: its line in the file, from 1; in a Parquet file its row, from 1.
        cells: column -> text, for all columns of the manifest; empty where there is nothing.
    """

    number: int
    cells: dict[str, str]

    @property
    def id(self) -> str:
        return self.cells["id"].strip()

    @property
    def split(self) -> str:
        return self.cells["split"].strip()

    @property
    def label(self) -> str:
        return self.cells["label"].strip()


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
    path = Path(path)
    readers = {".csv": _read_csv, ".jsonl": _read_json_lines, ".ndjson": _read_json_lines, ".parquet": _read_parquet}
    reader = _read_folder if path.is_dir() else _read_shards if is_shards(path) else readers.get(path.suffix.lower())
    if reader is None:
        raise ManifestError(path, f"expected a manifest that ends in {', '.join(readers)}, got {path.suffix!r}")
    if not path.exists():
        raise FileNotFoundError(f"expected a manifest, but there is no file {path}")
    try:
        rows = list(reader(path))
    except UnicodeDecodeError as error:
        raise ManifestError(path, f"expected text in UTF-8, got {error.object[error.start]:#04x}") from None
    if not rows:
        raise ManifestError(path, "expected a row a sample, got none")
    known = list(dict.fromkeys(name for row in rows for name in row.cells))
    for name in columns:
        if name not in known:
            raise ManifestError(path, _missing_column(name, known))
    rows = [Row(row.number, dict.fromkeys(known, "") | row.cells) for row in rows]
    _check_ids(path, rows)
    return rows


def _missing_column(name: str, known: Sequence[str]) -> str:
    hint = did_you_mean(name, known, "name it in the recipe or add it")
    return f"expected a column {name!r}, got {', '.join(map(repr, known))}; {hint}"


def _check_ids(path: Path, rows: Iterable[Row]) -> None:
    lines: dict[str, int] = {}
    for row in rows:
        if not row.id:
            raise ManifestError(path, f"line {row.number}: expected an id, got an empty cell")
        if row.id in lines:
            raise ManifestError(path, f"line {row.number}: id {row.id!r} is that of line {lines[row.id]} already")
        lines[row.id] = row.number
        if not row.split:
            raise ManifestError(path, f"line {row.number}: expected the name of a split, got an empty cell")


def _read_csv(path: Path) -> Iterator[Row]:
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            for place, name in enumerate(header):
                if not name or name in header[:place]:
                    what = f"column {name!r} twice" if name else "a column without a name"
                    raise ManifestError(path, f"line 1: {what}; every column needs a name of its own")
            while True:
                line = reader.line_num + 1  # where the row begins: a quoted cell may run over several lines
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    raise ManifestError(path, f"line {line}: {error}") from None
                if cells is None:
                    return
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise ManifestError(
                        path,
                        f"line {line}: expected {len(header)} cells as in the header, got {len(cells)}; a cell that "
                        "holds a comma is put in double quotes",
                    )
                yield Row(line, dict(zip(header, cells, strict=True)))
    finally:
        csv.field_size_limit(limit)


def _read_json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:  # numbers and nesting beyond all bounds are no syntax errors
                where = f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else error
                raise ManifestError(path, f"line {number}: not valid JSON: {where}") from None
            if not isinstance(entry, dict):
                raise ManifestError(path, f"line {number}: expected an object {{...}}, got {line.strip():.40}")
            yield Row(number, {name: _text(path, number, name, value) for name, value in entry.items()})


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ManifestError(
            path, "Parquet needs pyarrow: pip install 'locomt[parquet]', or write the manifest as CSV"
        ) from None
    try:
        entries = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise ManifestError(path, f"not a Parquet file that can be read: {error}") from None
    for number, entry in enumerate(entries, start=1):
        yield Row(number, {name: _text(path, number, name, value) for name, value in entry.items()})


def is_shards(manifest: Path) -> bool:
    """Whether a manifest is the index of a folder of shards."""
    return manifest.name == "shards.json"


def _read_shards(path: Path) -> Iterator[Row]:
    from locomt.data.shards.reader import read_samples  # which needs the rows defined here

    return (row for row, _ in read_samples(path))


def _read_folder(path: Path) -> Iterator[Row]:
    from locomt.data.folder import read_folder

    return read_folder(path)


def _text(path: Path, number: int, name: str, value: Any) -> str:
    """A typed cell as a CSV file would have it; a list of labels is joined by `;`."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return ";".join(map(str, value))
    raise ManifestError(path, f"line {number}: column {name!r}: expected text, a number or a list, got {value!r:.60}")


def resolve(cell: str, manifest: Path, *, allow_outside: bool = False) -> Path:
    """The file that a cell names, relative to its manifest.

    Raises:
        ManifestError: the cell cannot be the name of a file, or it leads out of the manifest's folder, by its text or
            through a link, and `allow_outside` is false.
    """
    text = cell.strip()
    if not _is_name(text):
        raise ManifestError(manifest, f"{text!r:.80} cannot be the name of a file")
    root = manifest if manifest.is_dir() else manifest.parent
    path = Path(os.path.normpath(root / text))
    if allow_outside:
        return path
    advice = "move the file there, or set data.allow_outside: true if you trust this manifest"
    foreign = PureWindowsPath(text).is_absolute() and not PurePosixPath(text).is_absolute() and os.name != "nt"
    if foreign or not _within(Path(os.path.abspath(path)), Path(os.path.abspath(root))):
        raise ManifestError(manifest, f"{text!r} leads out of the manifest's folder; {advice}")
    if not _within(target := Path(os.path.realpath(path)), Path(os.path.realpath(root))):
        raise ManifestError(
            manifest, f"{text!r} leads out of the manifest's folder through a link, to {target}; {advice}"
        )
    return path


def _is_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _within(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)
