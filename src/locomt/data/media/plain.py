"""Whether there is a file to read at a path; if not, what is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe, which cannot be read twice",
    stat.S_IFSOCK: "a socket",
}


def refusal(path: Path, wanted: str) -> str | None:
    """Why a path cannot be read as the file that is wanted, such as `a media file`; None where it can.

    Raises:
        OSError: the system does not say what is there.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            return f"a link to {os.readlink(path)!r}, where there is no file"
        return "there is no such file"
    if stat.S_ISREG(mode):
        return None
    return f"expected {wanted}, got {_OTHERS.get(stat.S_IFMT(mode), 'something else')}"
