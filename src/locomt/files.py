"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place once the block has ended well.

    A reader finds the old file or the new one, whatever happens in between. For a directory, `path` must not
    exist yet.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_file():
            flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename in (None, os.fspath(temporary)):  # what could not be written, by the name that users know
            error.filename = os.fspath(path)
        raise
    finally:
        remove(temporary)


def leftovers(folder: Path) -> list[Path]:
    """What a process that was killed had not yet put into its place in a directory, or what another is just writing."""
    return [path for path in folder.iterdir() if re.fullmatch(r"\..+\.\d+\.tmp", path.name)]


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it, if it is there; a link as a link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, where they are not there yet.

    Raises:
        OSError: it cannot be; names all of the path that was asked for.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        code = error.errno or 0
        raise OSError(code, f"cannot create this directory ({error.strerror})", os.fspath(path)) from None


def flush(path: Path) -> None:
    """A rename may reach the disk before the contents do: after a power cut the file would be empty."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(document: Any, *, indent: int | None = None) -> str:
    """A document as JSON. Halves of surrogate pairs, which the names of files that are not UTF-8 have, are escaped.

    Raises:
        ValueError: it holds NaN or an infinite number, which JSON lacks.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file; of a folder, the SHA-256 of its files' names and sizes."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for entry in sorted(path.rglob("*")):
        if entry.is_file():
            digest.update(f"{entry.relative_to(path).as_posix()}\0{entry.stat().st_size}\n".encode())
    return digest.hexdigest()
