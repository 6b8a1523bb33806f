"""What a bundle is made of: its document, the files that this vouches for, and how both are checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from locomt.files import fingerprint, to_json
from locomt.runtime.bundle_error import BundleError
from locomt.runtime.fields import wrong_in

DOCUMENT, CARD, EXAMPLES, TOKENIZERS = "bundle.json", "README.md", "examples.npz", "tokenizers"
FORMAT = 1
NAMES = ("form", "graph", "inputs", "task", "labels", "thresholds", "data", "pace", "time_steps", "cost", "versions")
"""Of the document, beside `format`, `files` and `checksum`."""


def sealed(document: dict[str, Any], folder: Path) -> str:
    """The text of a document that vouches for all files of the folder, and for itself."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    document = {"format": FORMAT, **document, "files": {name: fingerprint(path) for name, path in files.items()}}
    return to_json({**document, "checksum": _checksum(document)}, indent=2) + "\n"


def _checksum(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def opened(folder: Path) -> dict[str, Any]:
    """The document of a bundle, all of whose files are as they were written.

    Raises:
        BundleError: they are not, or there is no bundle, or one of another version.
    """
    path = folder / DOCUMENT
    if not path.is_file():
        raise BundleError(f"{folder} holds no bundle: expected {DOCUMENT}, which `locomt export` writes last")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _damaged(path, "it is no JSON") from None
    if not isinstance(document, dict):
        raise _damaged(path, "it holds no object")
    if document.get("format") != FORMAT:
        raise BundleError(
            f"{path}: expected format {FORMAT}, got {document.get('format')!r:.60}, written by locomt of "
            f"{document.get('versions')!r:.100}; export the run again, or use that version"
        )
    if _checksum({name: value for name, value in document.items() if name != "checksum"}) != document.get("checksum"):
        raise _damaged(path, "it does not have the checksum that it states")
    if missing := [name for name in (*NAMES, "files") if name not in document]:
        raise _damaged(path, f"it lacks {missing[0]!r}")
    if wrong := wrong_in(document):
        raise _damaged(path, f"{wrong[0]}: expected {wrong[1]}")
    for name, digest in document["files"].items():
        if not (folder / name).is_file():
            raise _damaged(folder / name, "there is no such file")
        if fingerprint(folder / name) != digest:
            raise _damaged(folder / name, "it is not as it was written")
    return document


def _damaged(path: Path, reason: str) -> BundleError:
    return BundleError(f"{path}: the bundle is damaged: {reason}; copy or export it again")
