"""Writing one shard: samples to bytes, bytes to a tar, the tar to its place whole or not at all."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from locomt.data.row import Row
from locomt.data.shards.index import Place
from locomt.data.shards.samples import Read
from locomt.data.shards.storage import Stored
from locomt.data.shards.tar import member_bytes, sha256
from locomt.files import replacing, to_json

LONGEST_NAME = 32
"""Characters of a modality's name, so that the names of members fit into a tar's plain headers."""


def write_shard(
    path: Path, rows: Sequence[tuple[str, Row]], samples: Iterator[Read], tell: Callable[[], None]
) -> dict[str, Any]:
    """Write the samples of some rows as a tar; the same bytes whenever it is done with the same files.

    Args:
        path: the tar, which is there when it is whole.
        rows: the samples and their keys, in their order.
        samples: what is read of them, in the same order; no more is taken.
        tell: called after each sample.

    Returns:
        `bytes` and `sha256` of the tar, and `places`: id -> the fields of the sample's `Place`, None where there is
        nothing to store, and `failed` likewise.
    """
    places: dict[str, Any] = {}
    with replacing(path) as temporary:
        with (
            temporary.open("wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for key, row in rows:
                parts, failed = next(samples)
                content = _sample_json(row, parts, failed) if parts else b""
                place = Place(path.name, key, file.tell(), len(content), zlib.crc32(content), failed)
                places[row.id] = asdict(place) if parts or failed else None
                if parts:
                    _add(tar, f"{key}.json", content)
                    for name, part in parts.items():
                        for end, member in part.members:
                            _add(tar, f"{key}.{name}.{end}", member)
                tell()
        digest, size = sha256(temporary), temporary.stat().st_size
    return {"bytes": size, "sha256": digest, "places": places}


def _sample_json(row: Row, parts: dict[str, Stored], failed: dict[str, dict[str, str]]) -> bytes:
    described, offset = {}, 0
    for name, part in parts.items():
        members = [(end, len(content), zlib.crc32(content)) for end, content in part.members]
        described[name] = {"offset": offset, "members": members, **part.fields}
        offset += sum(member_bytes(size) for _, size, _ in members)
    document = {"id": row.id, "split": row.split, "label": row.label, "row": row.number, "parts": described}
    return to_json({**document, "failed": failed}).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file of no one's and of no time: the same content gives the same tar."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def key_of(number: int, row: Row) -> str:
    """What the names of a sample's members begin with: unique by the number, and readable by what its id allows."""
    return f"{number:09d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', row.id)[:24]}"
