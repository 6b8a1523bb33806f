"""The index of a folder of shards: what is stored of each modality, the rows, and where the sample of each lies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from locomt.data.errors import ShardError
from locomt.data.kinds.source import Source
from locomt.data.row import Row
from locomt.data.shards.tar import member_bytes, sha256

VERSION = 1
INDEX, SAMPLES = "shards.json", "samples.jsonl"

_TAR_NAME = re.compile(r"[\w-]+\.tar", re.ASCII)


def stored_fields(source: Source) -> dict[str, Any]:
    """What of a source shapes the shards."""
    fields = {name: getattr(source, name) for name in ("kind", "column", *source.shaping)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


@dataclass(frozen=True)
class Place:
    """Where a row's sample is.

    Attributes:
        shard: the tar.
        key: what the names of its members begin with.
        offset, size, crc32: of its JSON member: where its header begins, and what it holds; size 0 where nothing of
            the row could be stored.
        failed: modality -> file and reason, for those that could not be read, and its `kind` (see `DataError`).
    """

    shard: str
    key: str
    offset: int
    size: int
    crc32: int
    failed: Mapping[str, Mapping[str, str]]


def read_index(path: Path) -> dict[str, Any]:
    """`shards.json`, checked.

    Raises:
        ShardError: it is something else.
        OSError: it cannot be read.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        version = index["version"]
        if version != VERSION:
            raise ShardError(path, f"expected shards of version {VERSION}, got {version!r}; prepare them again")
        for name, shard in index["shards"].items():
            if not _TAR_NAME.fullmatch(name):
                raise ShardError(path, f"expected tars beside it, by names such as train-000000.tar, got {name!r}")
            if not isinstance(shard["bytes"], int) or not isinstance(shard["sha256"], str):
                raise TypeError(f"shard {name!r}: expected its size and SHA-256")
        modalities = index["modalities"]
        known = {"fps"} <= index["storage"].keys() and all(isinstance(fields, dict) for fields in modalities.values())
        if not known or not isinstance(index["sha256"], str):
            raise TypeError("expected what each modality is stored as, and the SHA-256 of the samples")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(path, f"not what `locomt prepare` writes: {error!r:.200}") from None
    return dict(index)


def read_samples(path: Path) -> Iterator[tuple[Row, Place | None]]:
    """The rows of the manifest that was prepared, in its order, and where the sample of each is (None: nowhere).

    Args:
        path: `shards.json`.

    Raises:
        ShardError: the samples are not those that it speaks of.
        OSError: they cannot be read.
    """
    index, samples = read_index(path), path.with_name(SAMPLES)
    if not samples.is_file() or sha256(samples) != index["sha256"]:
        raise ShardError(samples, f"missing, or changed since {path.name} was written; prepare the shards again")
    with samples.open("rb") as file:  # decoded line by line, so that one which is no text is named
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                place = read_place(entry["place"], index["shards"]) if entry["place"] else None
                row = Row(int(entry["row"]), {str(name): str(cell) for name, cell in entry["cells"].items()})
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise ShardError(samples, f"line {number}: not what `locomt prepare` writes: {error}") from None
            yield row, place


def read_place(fields: Mapping[str, Any], shards: Mapping[str, Any]) -> Place:
    """A place out of its fields; a `ValueError` (or `TypeError`, `KeyError`) where it is none."""
    place = Place(**fields)
    for number in (place.offset, place.size, place.crc32):
        if type(number) is not int or number < 0:
            raise ValueError(f"expected whole numbers from 0, got {number!r}")
    if place.offset + member_bytes(place.size) > shards[place.shard]["bytes"]:
        raise ValueError(f"{place.key!r} lies beyond the end of {place.shard!r}")
    failed = {
        str(name): {"file": str(why["file"]), "reason": str(why["reason"]), "kind": str(why.get("kind", ""))}
        for name, why in place.failed.items()
    }
    return replace(place, failed=failed)
