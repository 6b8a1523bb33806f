"""Single files out of a tar, by where they lie in it, and which members are refused."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from pathlib import Path
from typing import Any

from locomt.data.errors import ShardError

_BLOCK = tarfile.BLOCKSIZE


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def member_bytes(size: int) -> int:
    """How much of a tar a member of this size takes: its header, and its content in whole blocks."""
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def read_member(tar: Path, offset: int, name: str, size: int, crc32: int) -> bytes:
    """The content of the file `name` in a tar, whose header is at `offset`.

    Raises:
        ShardError: there is something else: a link, another name, other content.
        OSError: the tar cannot be read.
    """
    if size < 0 or not 0 <= offset <= tar.stat().st_size - member_bytes(size):
        raise ShardError(tar, f"expected the file {name!r} of {size} bytes at byte {offset}, where the tar has no room")
    with tar.open("rb", buffering=0) as file:
        header = _read_at(file, _BLOCK, offset)
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise ShardError(tar, f"damaged: expected the file {name!r} at byte {offset}: {error}") from None
        if objection := refusal(info):
            raise ShardError(tar, objection)
        if (info.name, info.size) != (name, size):
            raise ShardError(tar, f"expected the file {name!r} of {size} bytes, got {info.name!r} of {info.size}")
        content = _read_at(file, size, offset + _BLOCK)
    if len(content) != size or zlib.crc32(content) != crc32:
        raise ShardError(tar, f"damaged: the content of {name!r} is not what was written")
    return content


def _read_at(file: Any, size: int, offset: int) -> bytes:
    file.seek(offset)
    content = bytearray()
    while len(content) < size and (piece := file.read(size - len(content))):
        content += piece
    return bytes(content)


def refusal(info: tarfile.TarInfo) -> str | None:
    """Why a member cannot be taken for a part of a sample: by what it is or what it is called."""
    if info.issym() or info.islnk():
        return f"refused: member {info.name!r} is a link, to {info.linkname!r}; samples are made of files alone"
    if not info.isreg():
        return f"refused: member {info.name!r} is no file; samples are made of files alone"
    if info.name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", info.name) or ".." in re.split(r"[/\\]", info.name):
        return f"refused: the name of member {info.name!r} leads out of the tar's folder"
    return None
