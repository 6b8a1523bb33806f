"""Looking through a folder of shards: is every file what was written, and every member a plain file?"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from locomt.data.errors import DataError
from locomt.data.shards.index import Place, read_index, read_samples
from locomt.data.shards.tar import refusal, sha256
from locomt.progress import each


def check_shards(path: Path) -> list[str]:
    """What is wrong with a folder of shards, each fault naming its file; nothing where it is as it was written.

    Everything is read once: sizes and checksums are compared with `shards.json`, and every member of every tar is
    looked at, without extracting any.

    Args:
        path: `shards.json`.

    Raises:
        ShardError: `shards.json` is not what `locomt prepare` writes.
        OSError: it cannot be read.
    """
    shards = read_index(path)["shards"]
    faults = [
        f"{tar}: not listed in {path.name}" for tar in sorted(path.parent.glob("*.tar")) if tar.name not in shards
    ]
    wanted: dict[str, set[str]] = {name: set() for name in shards}
    try:
        for _, place in read_samples(path):
            if place is not None and _is_there(place):
                wanted[place.shard].add(f"{place.key}.json")
    except DataError as error:
        return [*faults, str(error)]
    for name in each("checking", "shards", shards):
        faults += _faults_of(path, path.with_name(name), shards[name]["sha256"], wanted[name])
    return faults


def _faults_of(index: Path, tar: Path, digest: str, wanted: set[str]) -> list[str]:
    if not tar.is_file():
        return [f"{tar}: there is no such file"]
    found = list(_look_through(tar, wanted))
    if sha256(tar) != digest:
        found.insert(0, f"{tar}: its content is not what was written: another SHA-256 than in {index.name}")
    return found


def _is_there(place: Place) -> bool:
    return place.size > 0


def _look_through(tar: Path, wanted: set[str]) -> Iterator[str]:
    seen: set[str] = set()
    try:
        with tarfile.open(tar, "r:") as archive:
            for info in archive:
                if objection := refusal(info):
                    yield f"{tar}: {objection}"
                elif info.name in seen:
                    yield f"{tar}: member {info.name!r} is there twice"
                seen.add(info.name)
    except (tarfile.TarError, OSError) as error:  # a size beyond all bounds leads to no place in the file
        yield f"{tar}: not a whole tar: {error}"
    for name in sorted(wanted - seen)[:3]:
        yield f"{tar}: member {name!r} is missing"
