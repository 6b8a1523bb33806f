"""Recordings that were written to a pipe: their header was never told how long they became, so it is told here."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from locomt.data.errors import MediaError

MOST_CHUNKS = 1000
"""Before the sound: a file can be made of millions of empty ones."""


@dataclass(frozen=True)
class _Form:
    """How a format lays out its chunks.

    Attributes:
        head: a chunk's name and size, as `struct` has it.
        first: where the first chunk begins.
        even: what chunks are padded to a multiple of.
        counted: bytes of the head that count as part of the chunk.
        sound: the name of the chunk of sound.
        lead: bytes of it that come before the sound.
        shape: the name of the chunk that says how many bytes a sample of all channels takes.
    """

    head: str
    first: int
    even: int
    counted: int
    sound: bytes
    lead: int
    shape: bytes


_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_WAVE = _Form("<4sI", 12, 2, 0, b"data", 0, b"fmt ")
FORMS = {
    b"RIFF": _WAVE,
    b"RF64": _WAVE,
    b"BW64": _WAVE,
    b"FORM": _Form(">4sI", 12, 2, 0, b"SSND", 8, b"COMM"),
    b"riff": _Form("<16sQ", 40, 8, 24, b"data" + _GUID, 0, b"fmt " + _GUID),  # Wave64
    b"caff": _Form(">4sQ", 8, 1, 0, b"data", 4, b"desc"),
}
LONG = {b"RF64", b"BW64", b"riff", b"caff"}
"""Those whose sizes have 64 bits."""


@contextmanager
def source(path: Path) -> Iterator[Any]:
    """What FFmpeg is to open in place of a file: its address, or what reads as it would with a true header.

    Raises:
        MediaError: it is a recording that is shorter than its header says.
    """
    with path.open("rb") as file:
        try:
            mended = _mended(path, file)
        except struct.error:  # it ends amid what is looked for
            mended = None
        file.seek(0)
        # With `file:` in front no name is taken for an option, an address or a device.
        yield mended or f"file:{path}"


class _Mended:
    """A file some bytes of which are others, and which may end earlier."""

    def __init__(self, file: BinaryIO, patches: dict[int, bytes], end: int) -> None:
        self.name, self.seek, self.tell = file.name, file.seek, file.tell
        self._file, self._patches, self._end = file, patches, end

    def read(self, size: int = -1) -> bytes:
        begin = self.tell()
        left = max(0, self._end - begin)
        content = bytearray(self._file.read(left if size < 0 else min(size, left)))
        for at, patch in self._patches.items():
            for place, byte in enumerate(patch, start=at - begin):
                if 0 <= place < len(content):
                    content[place] = byte
        return bytes(content)


def _mended(path: Path, file: BinaryIO) -> _Mended | None:
    """The file with a true header; None where it speaks the truth, or nothing is known."""
    mark, end = file.read(4), os.fstat(file.fileno()).st_size
    form = FORMS.get(mark)
    if form is None or (form is _WAVE and _at(file, 8, 4) != b"WAVE"):  # RIFF is of AVI and WebP too
        return None
    chunks: dict[bytes, int] = {}
    for name, begin, stated in _chunks(file, form, form.first, end):
        chunks[name] = begin
        if name == form.sound:
            at, size = begin, stated
            break
    else:
        return None
    extended = chunks.get(b"ds64") if mark in LONG else None
    if extended is not None:
        (size,) = struct.unpack("<Q", _at(file, extended + 8, 8))
    there = end - at
    if size <= form.lead:
        if _chunks_follow(file, form, at, end):  # and FFmpeg would take them for sound
            return _Mended(file, {}, at)
    elif not _stands_for_none(size, there, mark in LONG):
        if size > there and form.sound != b"SSND":  # AIFF that lacks a few bytes is common
            raise MediaError(path, f"truncated: its header states {size} bytes of sound, and {there} follow it")
        return None
    per_sample = _bytes_per_sample(file, mark, chunks.get(form.shape))
    there -= (there - form.lead) % per_sample
    if mark not in LONG and at + there >= 2**32:
        raise MediaError(path, "its header does not know its length, which is above 4 GiB; write it as RF64 or FLAC")
    order = form.head[0] + "I"
    if extended is not None:
        patches = {extended: struct.pack("<QQQ", end - 8, there, 0)}
    elif mark == b"caff":
        patches = {at - 8: struct.pack(">Q", there)}
    elif mark == b"riff":
        patches = {16: struct.pack("<Q", end), at - 8: struct.pack("<Q", there + form.counted)}
    else:
        patches = {4: struct.pack(order, end - 8), at - 4: struct.pack(order, there)}
        if mark == b"FORM" and form.shape in chunks:
            patches[chunks[form.shape] + 2] = struct.pack(order, (there - form.lead) // per_sample)
    return _Mended(file, patches, end)


def _chunks(file: BinaryIO, form: _Form, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, the beginning and the stated size of each chunk from a place on, as far as they begin in the file."""
    head = struct.Struct(form.head)
    for _ in range(MOST_CHUNKS):
        if at + head.size > end:
            return
        name, size = head.unpack(_at(file, at, head.size))
        size, at = max(0, size - form.counted), at + head.size
        yield name, at, size
        at += -(-size // form.even) * form.even


def _chunks_follow(file: BinaryIO, form: _Form, at: int, end: int) -> bool:
    """Whether nothing but chunks comes after a place, to the last byte: then the chunk of sound is empty indeed."""
    last = at
    for name, begin, size in _chunks(file, form, at, end):
        if not all(0x20 <= byte < 0x7F for byte in name[:4]):
            return False
        last = begin + size
    return abs(end - last) < form.even


def _stands_for_none(stated: int, there: int, long: bool) -> bool:
    """Whether a size is the most that there is room for, or nearly, as programs write that do not know it."""
    if long:
        return stated >= 2**62
    return stated > there and (0x7F00_0000 <= stated < 0x8001_0000 or stated >= 0xFFFF_0000)


def _bytes_per_sample(file: BinaryIO, mark: bytes, shape: int | None) -> int:
    """Of all channels; 1 where it is not said."""
    if shape is None:
        return 1
    if mark == b"FORM":
        channels, bits = (int.from_bytes(_at(file, shape + place, 2), "big") for place in (0, 6))
        return max(1, channels * -(-bits // 8))
    if mark == b"caff":
        return max(1, int.from_bytes(_at(file, shape + 16, 4), "big"))
    return max(1, int.from_bytes(_at(file, shape + 12, 2), "little"))


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)
