"""What the columns of a manifest hold, where no recipe says it: told from some of the files that each names."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from locomt.data.errors import DataError, MediaError
from locomt.data.feature_files import is_feature_file
from locomt.data.kinds import KINDS
from locomt.data.kinds.source import Sight
from locomt.data.manifest import read_manifest
from locomt.data.manifest_files import ManifestFiles
from locomt.data.media.info import MediaInfo, probe
from locomt.data.row import Row

TRIES, MANY = 20, 1000
"""Files of a column that are looked at, from its beginning to its end: media are probed, and of feature files, which
may differ in length, the beginning is read."""

NO_MODALITY = ("id", "split", "label", "group")
"""Columns that say something of a sample and hold nothing of it."""


def guess_modalities(manifest: Path, rows: list[Row] | None = None) -> dict[str, dict[str, Any]]:
    """Modalities for `data.modalities`: pictures, clips and their sound, features, and text.

    Args:
        manifest: a file or a folder, which the names of files are relative to.
        rows: its rows; read from it where they are left out.

    Raises:
        ValueError: there is none, or a column of feature files whose vectors differ in size.
    """
    rows = read_manifest(manifest) if rows is None else rows
    columns = [name for name in rows[0].cells if name not in NO_MODALITY]
    found: dict[str, dict[str, Any]] = {}
    for column in columns:
        for kind, fields in _guess(manifest, rows, column).items():
            name = kind if KINDS[kind].holds in ("pixels", "spectrogram") else column
            while name in found:
                name = f"{column}_{name}"
            found[name] = {"kind": kind, "column": column, **fields}
    if not found:
        raise DataError(manifest, "no column names files or holds text; say in a recipe what its columns are")
    return found


def _guess(manifest: Path, rows: list[Row], column: str) -> dict[str, dict[str, Any]]:
    cells = [cell for row in rows if (cell := row.cells[column].strip())]
    cells = spread(cells, MANY if cells and is_feature_file(Path(cells[0])) else TRIES)
    files, known = [], ManifestFiles(manifest)
    for cell in cells:
        try:
            file = known.find(cell)
            if file.is_file():
                files.append(file)
        except (DataError, OSError):
            continue
    if cells and not files and all(map(_names_a_file, cells)):
        raise DataError(manifest, f"column {column!r} names files such as {cells[0]!r}, none of which is there")
    sight = Sight(cells, files, list(_probed(files)))
    try:
        found = {kind: source.guess(sight) for kind, source in KINDS.items()}
    except ValueError as error:
        raise DataError(manifest, f"column {column!r} {error}") from None
    return {kind: fields for kind, fields in found.items() if fields is not None}


def _names_a_file(cell: str) -> bool:
    """Whether it can only be meant as the name of a file, be there one or not."""
    if is_feature_file(Path(cell)):
        return False  # of which its kind says more
    known = (mimetypes.guess_type(cell)[0] or "").startswith(("video/", "audio/", "image/"))
    return known or bool(re.fullmatch(r"\S+[/\\]\S+\.\w{1,12}", cell))


def spread(cells: Sequence[str], most: int) -> list[str]:
    """At most so many of them, from the first to the last: files of one class often stand together."""
    return [cells[place * len(cells) // most] for place in range(most)] if len(cells) > most else list(cells)


def _probed(files: list[Path]) -> Iterator[MediaInfo]:
    """What those of some files say of themselves that hold pictures or sound."""
    for file in files:
        try:
            info = probe(file)
        except MediaError:
            continue
        if info.video or info.audio:
            yield info
