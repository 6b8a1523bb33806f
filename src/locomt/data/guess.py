"""What the columns of a manifest hold, where no recipe says it: told from the first file that each names."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from locomt.data.errors import DataError, MediaError
from locomt.data.features import FEATURE_FILES
from locomt.data.manifest import Row, read_manifest, resolve
from locomt.data.media.info import MediaInfo, probe

TRIES = 20
"""Files that are looked at before a column is given up."""
TEXT_LENGTH = 128


def guess_modalities(manifest: Path) -> dict[str, dict[str, Any]]:
    """Modalities for `data.modalities`: the pictures and the sound of clips, and text.

    Raises:
        ValueError: there is none, or a column of feature files, whose sizes have to be said in a recipe.
    """
    rows = read_manifest(manifest)
    columns = [name for name in rows[0].cells if name not in ("id", "split", "label")]
    found: dict[str, dict[str, Any]] = {}
    for column in columns:
        for kind, fields in _guess(manifest, rows, column).items():
            name = kind if kind != "text" else column
            while name in found:
                name = f"{column}_{name}"
            found[name] = {"kind": kind, "column": column, **fields}
    if not found:
        raise DataError(manifest, "no column names clips or holds text; say in a recipe what its columns are")
    return found


def _guess(manifest: Path, rows: list[Row], column: str) -> dict[str, dict[str, Any]]:
    cells = [cell for row in rows if (cell := row.cells[column].strip())][:TRIES]
    if any(Path(cell).suffix.lower() in FEATURE_FILES for cell in cells):
        raise DataError(manifest, f"column {column!r} names feature files: say in a recipe their dim and max_length")
    files = []
    for cell in cells:
        try:
            file = resolve(cell, manifest)
            if file.is_file():
                files.append(file)
        except (DataError, OSError):
            continue
    if found := list(_probed(files)):
        kinds = {"video": found[0].video, "audio": found[0].audio}
        still = all(info.video is not None and info.video.frames == 1 for info in found)
        fields = {"frames": 1} if still else {}  # more would be copies of the one
        return {kind: fields if kind == "video" else {} for kind, stream in kinds.items() if stream}
    if files or not cells:
        return {}
    if all((mimetypes.guess_type(cell)[0] or "").startswith(("video/", "audio/", "image/")) for cell in cells):
        raise DataError(manifest, f"column {column!r} names files such as {cells[0]!r}, none of which is there")
    return {"text": {"max_length": TEXT_LENGTH}}


def _probed(files: list[Path]) -> Iterator[MediaInfo]:
    """What those of some files say of themselves that hold pictures or sound."""
    for file in files:
        try:
            info = probe(file)
        except MediaError:
            continue
        if info.video or info.audio:
            yield info
