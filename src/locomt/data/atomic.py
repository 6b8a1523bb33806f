"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


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
