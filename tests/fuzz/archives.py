"""Archives and arrays: zip, tar, NumPy, safetensors and what `torch.save` writes, damaged behind right checksums."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import torch

from fuzz.chunks import Chunk, NotWholeError, changed, clipped
from fuzz.mutate import STRANGE, alter, damage, damage_text, encoded


def parse_zip(content: bytes) -> list[Chunk]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [Chunk(info.filename.encode(), archive.read(info)) for info in archive.infolist()]


def build_zip(chunks: Sequence[Chunk]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for chunk in chunks:
            info = zipfile.ZipInfo(chunk.tag.decode("utf-8", "replace").replace("\0", "_") or "_")
            archive.writestr(info, chunk.body)
            if chunk.lie is not None:
                info.file_size = clipped(chunk.lie, 4)
    return buffer.getvalue()


def parse_tar(content: bytes) -> list[Chunk]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return [Chunk(info.name.encode(), (archive.extractfile(info) or io.BytesIO()).read()) for info in archive]


def build_tar(chunks: Sequence[Chunk]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for chunk in chunks:
            info = tarfile.TarInfo(chunk.tag.decode("utf-8", "replace")[:90])
            info.size = len(chunk.body)
            archive.addfile(info, io.BytesIO(chunk.body))
    return buffer.getvalue()


def strange_member(rng: Random, content: bytes) -> bytes:
    """A tar with a link, a device or a member of a strange name or size at its end, or in place of another."""
    info = tarfile.TarInfo(rng.choice(STRANGE)[:90].replace("\0", "") or "x")
    info.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.REGTYPE, b"S"))
    info.linkname = "/etc/passwd"
    info.size = rng.choice((0, 100, 2**33, 2**60))
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogatepass")
    place = rng.randrange(len(content) // 512 + 1) * 512
    return content[:place] + header + content[place + rng.choice((0, 512)) :]


def _rounded(header: bytes) -> bytes:
    """A header of NumPy's as long as its alignment wants it."""
    return header.rstrip(b"\n ") + b" " * (-(len(header.rstrip(b"\n ")) + 11) % 64) + b"\n"


def parse_npy(content: bytes) -> list[Chunk]:
    if content[:6] != b"\x93NUMPY":
        raise NotWholeError
    (size,) = struct.unpack("<H", content[8:10])
    return [Chunk(b"header", content[10 : 10 + size]), Chunk(b"numbers", content[10 + size :])]


def build_npy(chunks: Sequence[Chunk]) -> bytes:
    header = b"".join(chunk.body for chunk in chunks if chunk.tag != b"numbers")
    lie = next((chunk.lie for chunk in chunks if chunk.lie is not None), None)
    header = _rounded(header)
    stated = struct.pack("<H", clipped(len(header) if lie is None else lie, 2))
    return b"\x93NUMPY\x01\0" + stated + header + b"".join(c.body for c in chunks if c.tag == b"numbers")


def npy_header(rng: Random, content: bytes) -> bytes:
    """Another header, its length stated right or not; or an array of another kind."""
    if rng.random() < 0.3:
        return _strange_array(rng)
    words = (
        "'<f4'",
        "'|O'",
        "'<U9'",
        "True",
        "()",
        "(0, 6)",
        "(-1, 6)",
        "(4000000000, 6)",
        "(2**40,)",
        "None",
        "[1, 2]",
    )

    def damage_header(rng: Random, body: bytes, tag: bytes) -> bytes:
        return damage_text(rng, body, words) if tag == b"header" else damage(rng, body)

    return changed(parse_npy, build_npy, damage_header)(rng, content)


def _strange_array(rng: Random) -> bytes:
    arrays = (
        np.zeros((0, 6), np.float32),
        np.zeros((3, 0)),
        np.zeros((2, 3, 6)),
        np.float64(3),
        np.full((2, 6), 1e300),
        np.full((2, 6), np.nan),
        np.ones((2, 6), bool),
        np.ones((2, 6), complex),
        np.array([["a"] * 6]),
        np.asfortranarray(np.ones((5, 6), ">i8")),
        np.ones((4, 6), np.float16),
        np.zeros(3, [("a", "f4"), ("b", "O")]),
        np.array(["2001-01-01"], "M8[D]"),
        np.ones((3, 6), np.longdouble),
    )
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(rng.choice(arrays)), allow_pickle=True)
    return buffer.getvalue()


def zip_members(rng: Random, content: bytes) -> bytes:
    """Something else in an archive, its checksums being right."""

    def damage_member(rng: Random, body: bytes, tag: bytes) -> bytes:
        return npy_header(rng, body) if tag.endswith(b".npy") and rng.random() < 0.7 else damage(rng, body)

    return changed(parse_zip, build_zip, damage_member)(rng, content)


def tensors_of(content: bytes) -> tuple[Any, bytes]:
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def safetensors_header(rng: Random, content: bytes) -> bytes:
    """Another header, its length stated right or not; or other numbers."""
    header, numbers = tensors_of(content)
    if rng.random() < 0.3:
        numbers = rng.choice((damage(rng, numbers), b"\xff" * len(numbers), bytes(len(numbers))))
    else:
        header = alter(rng, header)
    text = encoded(json.dumps(header))
    size = len(text) if rng.random() < 0.9 else rng.choice((0, len(text) - 1, 2**40, 2**64 - 1))
    return struct.pack("<Q", size) + text + numbers


def pickled_value(rng: Random, content: bytes) -> bytes:
    """Another value in what `torch.save` wrote: a tensor of another size or kind, a name that is missing."""
    value = torch.load(io.BytesIO(content), weights_only=True)
    value = alter(rng, value)
    if rng.random() < 0.5:
        value = _other_tensor(rng, value)
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _other_tensor(rng: Random, value: Any) -> Any:
    """The value with one of its tensors changed."""
    if isinstance(value, torch.Tensor):
        with torch.no_grad():
            others = (
                value[:1] if value.ndim else value[None],
                value.flatten(),
                value.to(torch.float64) * torch.nan,
                value.to(torch.int64),
                torch.zeros(0),
                value[None],
                value.to(torch.complex64),
                value.to_sparse() if value.ndim else value,
                value.to("meta"),
            )
        return rng.choice(others)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return {**value, key: _other_tensor(rng, value[key])}
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [_other_tensor(rng, entry) if n == place else entry for n, entry in enumerate(value)]
    return value
