"""A folder with a folder of files for each class, as a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from locomt.data.errors import ManifestError
from locomt.data.manifest import Row

SPLITS = ("train", "val", "test")
COLUMN = "clip"
"""The column that names the file."""


def read_folder(folder: Path) -> Iterator[Row]:
    """A row for every file: its path as `id` and `clip`, its class as `label`, and its `split`.

    The files are `CLASS/...`, or `SPLIT/CLASS/...` where the folders of the first level are all called train, val or
    test. Without such folders a file's own name decides, so that it stays in its split whatever is added: one in
    ten goes to val and one in ten to test. Hidden files are passed over.

    Raises:
        ManifestError: there are no such folders, or a file lies beside them.
    """
    top = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if stray := [path.name for path in top if not path.is_dir()]:
        raise ManifestError(folder, f"expected a folder for each class, got the file {stray[0]!r} beside them")
    split = bool(top) and all(path.name in SPLITS for path in top)
    number = 0
    for place in top:
        for group in sorted(place.iterdir()) if split else [place]:
            if group.name.startswith("."):
                continue
            if not group.is_dir():
                raise ManifestError(folder, f"expected a folder for each class in {place.name!r}, got {group.name!r}")
            for file in sorted(path for path in group.rglob("*") if path.is_file()):
                name = file.relative_to(folder).as_posix()
                if any(part.startswith(".") for part in Path(name).parts):
                    continue
                number += 1
                chosen = place.name if split else _split_of(name)
                yield Row(number, {"id": name, "split": chosen, "label": group.name, COLUMN: name})


def _split_of(name: str) -> str:
    tenth = hashlib.sha256(name.encode(errors="surrogateescape")).digest()[0] * 10 // 256
    return {0: "val", 1: "test"}.get(tenth, "train")
