"""Files that are made of chunks with sizes, checksums and names: taken apart, one thing changed, put together again.

What is changed reaches the reader: sizes of what lies around it and checksums are those of the changed file, unless a
size is the lie itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from fuzz.mutate import EXTREMES, damage, with_number


class NotWholeError(ValueError):
    """A file that cannot be taken apart, since it has been damaged before."""


@dataclass
class Chunk:
    """A piece of a file.

    Attributes:
        tag: its kind or its name.
        body: what it holds, where that are no chunks.
        inner: the chunks that it holds; None where it holds none.
        lie: what its size is stated to be; None for what it is.
    """

    tag: bytes
    body: bytes = b""
    inner: list[Chunk] | None = None
    lie: int | None = None
    head: bytes = field(default=b"", repr=False)
    """What stands between the size and the inner chunks."""


Damage = Callable[[Random, bytes, bytes], bytes]
"""Of a chunk's body, given its tag."""


def change(rng: Random, chunks: list[Chunk], damage_body: Damage | None = None) -> None:
    """Change one thing in a tree of chunks, in place."""
    places = [(siblings, n) for siblings in _all_siblings(chunks) for n in range(len(siblings))]
    if not places:
        raise NotWholeError
    siblings, n = rng.choice(places)
    chunk = siblings[n]
    others, other = rng.choice(places)
    match rng.randrange(12):
        case 0:
            del siblings[n]
        case 1:
            siblings[n:n] = [chunk] * rng.choice((1, 1, 3, 200))
        case 2:
            siblings[n], others[other] = others[other], chunk
        case 3:
            chunk.tag = others[other].tag if rng.random() < 0.7 else damage(rng, chunk.tag)[: len(chunk.tag)]
        case 4 | 5:
            size = len(chunk.body)
            chunk.lie = rng.choice((*EXTREMES, size + 1, max(0, size - 1), size * 2, size // 2))
        case _:
            body = others[other].body if rng.random() < 0.05 else chunk.body
            chunk.body = (damage_body or _damage_body)(rng, body, chunk.tag)


def _all_siblings(chunks: list[Chunk]) -> list[list[Chunk]]:
    return [chunks, *(siblings for chunk in chunks if chunk.inner for siblings in _all_siblings(chunk.inner))]


def _damage_body(rng: Random, body: bytes, _: bytes) -> bytes:
    return with_number(rng, body) if rng.random() < 0.6 else damage(rng, body)


def changed(
    parse: Callable[[bytes], list[Chunk]], build: Callable[[Sequence[Chunk]], bytes], damage_body: Damage | None = None
) -> Callable[[Random, bytes], bytes]:
    """Damage of a format that is read by `parse` and written by `build`."""

    def apply(rng: Random, content: bytes) -> bytes:
        chunks = parse(content)
        change(rng, chunks, damage_body)
        return build(chunks)

    return apply


def clipped(size: int, width: int) -> int:
    return min(size, 256**width - 1)


BOXES = (*(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"udta", b"edts", b"mvex"), b"moof", b"traf", b"mfra")
"""Of MP4: those that hold others."""


def parse_boxes(content: bytes) -> list[Chunk]:
    chunks, place = [], 0
    while place < len(content):
        size, tag = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        if not 8 <= size <= len(content) - place:
            raise NotWholeError
        body = content[place + 8 : place + size]
        chunks.append(Chunk(tag, inner=parse_boxes(body)) if tag in BOXES else Chunk(tag, body))
        place += size
    return chunks


def build_boxes(chunks: Sequence[Chunk]) -> bytes:
    parts = []
    for chunk in chunks:
        body = chunk.body if chunk.inner is None else build_boxes(chunk.inner)
        size = len(body) + 8 if chunk.lie is None else chunk.lie
        parts.append(clipped(size, 4).to_bytes(4, "big") + chunk.tag[:4].ljust(4) + body)
    return b"".join(parts)


def parse_riff(content: bytes) -> list[Chunk]:
    chunks, place = [], 0
    while place + 8 <= len(content):
        tag, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        body = content[place + 8 : place + 8 + size]
        if len(body) != size:
            raise NotWholeError
        nested = tag in (b"RIFF", b"LIST") and size >= 4
        chunks.append(Chunk(tag, inner=parse_riff(body[4:]), head=body[:4]) if nested else Chunk(tag, body))
        place += 8 + size + size % 2
    return chunks


def build_riff(chunks: Sequence[Chunk]) -> bytes:
    parts = []
    for chunk in chunks:
        body = chunk.body if chunk.inner is None else chunk.head + build_riff(chunk.inner)
        size = len(body) if chunk.lie is None else chunk.lie
        parts.append(chunk.tag[:4].ljust(4) + clipped(size, 4).to_bytes(4, "little") + body + bytes(len(body) % 2))
    return b"".join(parts)


MASTERS = tuple(
    bytes.fromhex(tag)
    for tag in (
        *("1a45dfa3", "18538067", "114d9b74", "4dbb", "1549a966", "1654ae6b", "ae", "e0", "e1", "1f43b675"),
        *("1c53bb6b", "bb", "b7", "1254c367", "a0"),
    )
)
"""Elements of Matroska that hold others."""


def _vint(content: bytes, place: int, *, marked: bool) -> tuple[int, int]:
    """A number of EBML and where it ends."""
    if place >= len(content) or not content[place]:
        raise NotWholeError
    length = 9 - content[place].bit_length()
    value = int.from_bytes(content[place : place + length], "big")
    return (value if marked else value & (1 << 7 * length) - 1), place + length


def parse_ebml(content: bytes) -> list[Chunk]:
    chunks, place = [], 0
    while place < len(content):
        begin = place
        _, place = _vint(content, place, marked=True)
        tag = content[begin:place]
        size, begin = _vint(content, place, marked=False)
        if size == (1 << 7 * (begin - place)) - 1:  # unknown: to the end
            size = len(content) - begin
        body = content[begin : begin + size]
        if len(body) != size:
            raise NotWholeError
        chunks.append(Chunk(tag, inner=parse_ebml(body)) if tag in MASTERS else Chunk(tag, body))
        place = begin + size
    return chunks


def build_ebml(chunks: Sequence[Chunk]) -> bytes:
    parts = []
    for chunk in chunks:
        body = chunk.body if chunk.inner is None else build_ebml(chunk.inner)
        size = len(body) if chunk.lie is None else chunk.lie
        parts.append(chunk.tag + (min(size, 2**56 - 1) | 1 << 56).to_bytes(8, "big") + body)
    return b"".join(parts)


PNG = b"\x89PNG\r\n\x1a\n"


def parse_png(content: bytes) -> list[Chunk]:
    chunks, place = [], len(PNG)
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append(Chunk(content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    return chunks


def build_png(chunks: Sequence[Chunk]) -> bytes:
    parts = [PNG]
    for chunk in chunks:
        size = len(chunk.body) if chunk.lie is None else chunk.lie
        tag = chunk.tag[:4].ljust(4)
        parts.append(clipped(size, 4).to_bytes(4, "big") + tag + chunk.body)
        parts.append(zlib.crc32(tag + chunk.body).to_bytes(4, "big"))
    return b"".join(parts)


def parse_jpeg(content: bytes) -> list[Chunk]:
    """The segments; the last one is all that comes with the first scan."""
    chunks, place = [], 2
    while place + 4 <= len(content):
        tag, size = content[place : place + 2], int.from_bytes(content[place + 2 : place + 4], "big")
        if tag[0] != 0xFF:
            raise NotWholeError
        end = len(content) if tag == b"\xff\xda" else place + 2 + size
        chunks.append(Chunk(tag, content[place + 4 : end], head=content[place + 2 : place + 4]))
        place = end
    return chunks


def build_jpeg(chunks: Sequence[Chunk]) -> bytes:
    parts = [b"\xff\xd8"]
    for chunk in chunks:
        size = len(chunk.body) + 2 if chunk.lie is None else chunk.lie
        stated = chunk.head if chunk.tag == b"\xff\xda" else clipped(size, 2).to_bytes(2, "big")
        parts.append(chunk.tag[:2].ljust(2) + stated + chunk.body)
    return b"".join(parts)


def parse_ogg(content: bytes) -> list[Chunk]:
    """Pages: the tag is the header without its checksum."""
    chunks, place = [], 0
    while place < len(content):
        if content[place : place + 4] != b"OggS" or len(content) < place + 27:
            raise NotWholeError
        count = content[place + 26]
        lengths = content[place + 27 : place + 27 + count]
        end = place + 27 + count + sum(lengths)
        tag = content[place : place + 22] + content[place + 26 : place + 27 + count]
        chunks.append(Chunk(tag, content[place + 27 + count : end]))
        place = end
    return chunks


def build_ogg(chunks: Sequence[Chunk]) -> bytes:
    parts = []
    for chunk in chunks:
        whole = chunk.tag[:22] + bytes(4) + chunk.tag[22:] + chunk.body
        parts.append(whole[:22] + _ogg_checksum(whole).to_bytes(4, "little") + whole[26:])
    return b"".join(parts)


_OGG_TABLE = []
for byte in range(256):
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    _OGG_TABLE.append(value)


def _ogg_checksum(content: bytes) -> int:
    value = 0
    for byte in content:
        value = (value << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[value >> 24 ^ byte]
    return value


def parse_flv(content: bytes) -> list[Chunk]:
    chunks, place = [Chunk(b"FLV", content[:13])], 13
    while place + 15 <= len(content):
        size = int.from_bytes(content[place + 1 : place + 4], "big")
        chunks.append(Chunk(content[place : place + 1], content[place + 4 : place + 11 + size]))
        place += 15 + size
    return chunks


def build_flv(chunks: Sequence[Chunk]) -> bytes:
    parts = []
    for chunk in chunks:
        if chunk.tag == b"FLV":
            parts.append(chunk.body)
            continue
        size = max(0, len(chunk.body) - 7) if chunk.lie is None else chunk.lie
        parts.append(chunk.tag[:1] + clipped(size, 3).to_bytes(3, "big") + chunk.body)
        parts.append((len(chunk.body) + 4).to_bytes(4, "big"))
    return b"".join(parts)


def other_streams(rng: Random, content: bytes) -> bytes:
    """An FLV whose header announces other streams than there are."""
    return content[:4] + bytes([rng.choice((0, 1, 4, 5))]) + content[5:]


PACKET = 188
"""Bytes of a packet of MPEG-TS."""


def parse_ts(content: bytes) -> list[Chunk]:
    pieces = [content[place : place + PACKET] for place in range(0, len(content), PACKET)]
    return [Chunk(piece[:4], piece[4:]) for piece in pieces]


def build_ts(chunks: Sequence[Chunk]) -> bytes:
    return b"".join(chunk.tag + chunk.body for chunk in chunks)
