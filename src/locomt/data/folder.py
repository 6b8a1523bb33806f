"""A folder with a folder of files for each class, as a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from locomt.data.errors import ManifestError
from locomt.data.row import Row
from locomt.data.splits import resembles_split, usual_split
from locomt.hints import listed

COLUMN = "clip"
"""The column that names the file."""
LEFT_BEHIND = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""What file managers leave in folders."""
WAY_OUT = "rename the folders, or write a manifest, which names a split and a label for each file"


def read_folder(folder: Path) -> Iterator[Row]:
    """A row for every file: its path as `id` and `clip`, its class as `label`, and its `split`.

    The files are `CLASS/...`, or `SPLIT/CLASS/...` where the folders of the first level have the usual names of splits
    in any case: these are `train`, `val` and `test` of the rows. Without such folders a file's own name decides, so
    that it stays in its split whatever is added: one in ten goes to val and one in ten to test. Hidden files are
    passed over.

    Raises:
        ManifestError: there are no such folders, a file lies beside them, or some of them are named as splits and
            others are not.
    """
    top = _folders(folder, folder)
    splits = _splits(folder, top)
    number = 0
    for place in top:
        for group in _folders(folder, place) if splits else [place]:
            for file in sorted(path for path in group.rglob("*") if path.is_file()):
                name = file.relative_to(folder).as_posix()
                if any(is_hidden(part) for part in Path(name).parts):
                    continue
                number += 1
                chosen = splits[place.name] if splits else _split_of(name)
                yield Row(number, {"id": name, "split": chosen, "label": group.name, COLUMN: name})


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name in LEFT_BEHIND


def _folders(folder: Path, place: Path) -> list[Path]:
    found = [path for path in sorted(place.iterdir()) if not is_hidden(path.name)]
    if stray := [path.name for path in found if not path.is_dir()]:
        where = "" if place == folder else f" in {place.name!r}"
        raise ManifestError(folder, f"expected a folder for each class{where}, got the file {stray[0]!r} beside them")
    return found


def _splits(folder: Path, top: Sequence[Path]) -> dict[str, str]:
    """Folder -> split where the folders of the first level are splits; nothing where they are classes."""
    usual = {path.name: split for path in top if (split := usual_split(path.name))}
    others = [path.name for path in top if path.name not in usual]
    if usual and others:
        raise ManifestError(
            folder,
            f"expected splits or classes as the folders of the first level, got both: {listed(usual)} named as splits, "
            f"{listed(others)} not; {WAY_OUT}",
        )
    if not usual and len(top) > 1 and all(resembles_split(name) for name in others):
        raise ManifestError(
            folder, f"{listed(others)} look like splits and not like classes; call them train, val and test if so"
        )
    first: dict[str, str] = {}
    for name, split in usual.items():
        if (other := first.setdefault(split, name)) != name:
            raise ManifestError(folder, f"{other!r} and {name!r} both stand for the split {split!r}; {WAY_OUT}")
    for path in top:
        below = [part.name for part in sorted(path.iterdir()) if not is_hidden(part.name)]
        if below and all(usual_split(name) and (path / name).is_dir() for name in below):
            what = "the folders of classes in a split" if usual else "files in the folder of a class"
            if len(top) == 1:
                what += f", or the folder {path.name!r} itself as the manifest"
            raise ManifestError(
                folder, f"expected {what}, got folders named as splits in {path.name!r}: {listed(below)}; {WAY_OUT}"
            )
    return usual


def _split_of(name: str) -> str:
    tenth = hashlib.sha256(name.encode(errors="surrogateescape")).digest()[0] * 10 // 256
    return {0: "val", 1: "test"}.get(tenth, "train")
