"""Writing one shard: samples to bytes, bytes to a tar, the tar to its place whole or not at all."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from locomt.data.config import DataConfig
from locomt.data.errors import DataError
from locomt.data.manifest_files import ManifestFiles
from locomt.data.media.read import MediaFiles
from locomt.data.row import Row
from locomt.data.shards.index import Place
from locomt.data.shards.storage import Storage, Stored
from locomt.data.shards.tar import member_bytes, sha256
from locomt.faults import tell_of_machine
from locomt.files import replacing, to_json

LONGEST_NAME = 32
"""Characters of a modality's name, so that the names of members fit into a tar's plain headers."""


def write_shard(
    path: Path, rows: Sequence[tuple[str, Row]], config: DataConfig, storage: Storage, tell: Callable[[], None]
) -> dict[str, Any]:
    """Write the samples of some rows as a tar; the same bytes whenever it is done with the same files.

    Args:
        path: the tar, which is there when it is whole.
        rows: the samples and their keys, in their order.
        config: what is read.
        storage: how it is stored.
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
                parts, failed = read_parts(row, config, storage)
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


def read_parts(row: Row, config: DataConfig, storage: Storage) -> tuple[dict[str, Stored], dict[str, dict[str, str]]]:
    """What a row's modalities are stored as, and for those that cannot be read the file and the reason."""
    parts, failed = {}, {}
    manifest = Path(config.manifest)
    named = ManifestFiles(manifest, allow_outside=config.allow_outside)
    with MediaFiles() as files:
        for name, source in config.modalities.items():
            cell = row.cells[source.column].strip()
            if not cell:
                continue
            try:
                part: Any = cell
                if source.names_file:
                    part = source.open(named.find(cell), files)
                parts[name] = source.store(part, storage)
            except DataError as error:
                tell_of_machine(error)
                failed[name] = {
                    "file": manifest.name if error.file == str(manifest) else cell,
                    "reason": error.reason,
                    **({"kind": error.kind} if error.kind else {}),
                }
            except OSError as error:
                tell_of_machine(error)
                failed[name] = {"file": cell, "reason": error.strerror or str(error)}
    return parts, failed


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
