"""Reading shards: the rows that they were made from, and any sample of them alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locomt.data.errors import ABSENT, DataError, ShardError
from locomt.data.manifest import Row
from locomt.data.shards.tar import member_bytes, read_member, sha256
from locomt.nn.config import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor

    from locomt.data.config import DataConfig
    from locomt.data.media.container import Crop
    from locomt.data.media.frame_times import FrameTimes
    from locomt.data.media.sound import Sound
    from locomt.data.sources import Source

VERSION = 1
INDEX, SAMPLES = "shards.json", "samples.jsonl"
SHAPING = {
    "video": ("size", "frames", "stream"),
    "audio": ("rate", "stream"),
    "features": ("dim", "max_length"),
    "text": (),
}
"""The fields of each kind that say what is stored; all others are free when the shards are read."""

_TAR_NAME = re.compile(r"[\w-]+\.tar", re.ASCII)


def stored_fields(source: Source) -> dict[str, Any]:
    """What of a source shapes the shards."""
    return {name: getattr(source, name) for name in ("kind", "column", *SHAPING[source.kind])}


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


def _frame_times(part: Mapping[str, Any]) -> FrameTimes:
    """When the frames of a stored video are shown. Those prepared before their end was stored may have any unit."""
    from locomt.data.media.frame_times import FrameTimes

    begins = [float(second) for second in part["seconds"]]
    end = None if part.get("end") is None else float(part["end"])
    unit = float(part.get("unit", 0.001))
    if not all(abs(second) < 2**40 for second in (*begins, unit, end or 0)):
        raise ValueError("expected times in seconds")
    return FrameTimes(begins, end, unit)


class Shards:
    """The samples of a folder of shards, for reading one by one; can be sent to worker processes.

    Args:
        path: `shards.json`.
        config: what is to be read.

    Raises:
        ConfigError: the shards do not hold what the configuration asks for.
        ShardError: a shard is missing or has another size than it was written with.
    """

    def __init__(self, path: Path, config: DataConfig) -> None:
        self.path, self.index = path, read_index(path)
        for name, source in config.modalities.items():
            self._check(name, source)
            if config.cut is not None and source.kind == "video" and self.index["storage"]["fps"] is None:
                raise ConfigError(
                    f"data.{config.cut} takes other frames than {path} holds; prepare the shards with --fps"
                )
        for name, shard in self.index["shards"].items():
            tar = path.with_name(name)
            if not tar.is_file():
                raise ShardError(tar, "there is no such file, but shards.json lists it")
            if (size := tar.stat().st_size) != shard["bytes"]:
                raise ShardError(tar, f"expected {shard['bytes']} bytes as in shards.json, got {size}; it is not whole")
        self.places = {row.id: place for row, place in read_samples(path)}

    def _check(self, name: str, source: Source) -> None:
        if source.kind == "text":  # read from the row itself
            return
        known = self.index["modalities"]
        if name not in known:
            raise ConfigError(f"{self.path} holds {', '.join(known)}, and no {name!r}; prepare the data with it")
        stored = known[name]
        for field, asked in stored_fields(source).items():
            has = stored.get(field)
            if field == "frames" and self.index["storage"]["fps"] is not None:
                continue  # more is stored than the frames of the recipe, and the nearest are taken
            if has != asked and not (field == "max_length" and isinstance(has, int) and asked <= has):
                hint = " (with --fps any number can be had)" if field == "frames" else ""
                raise ConfigError(
                    f"data.modalities.{name}.{field} is {asked!r}, but the shards of {self.path} were prepared with "
                    f"{has!r}; prepare them again{hint}, or change it back"
                )

    def part(self, row: Row, modality: str) -> StoredPart:
        """One modality of a row which has it.

        Raises:
            DataError: it could not be read when the shards were made, or the shard is damaged; a `NoStreamError` or
                `SilentError` where the file lacked it.
        """
        place = self.places[row.id]
        if place is None:
            raise ShardError(self.path.with_name(SAMPLES), f"sample {row.id!r} is in none of the shards")
        if modality in place.failed:
            failure = place.failed[modality]
            raise ABSENT.get(failure["kind"], DataError)(failure["file"], failure["reason"])
        tar = self.path.with_name(place.shard)
        name = f"{place.key}.json"
        content = read_member(tar, place.offset, name, place.size, place.crc32)
        start = place.offset + member_bytes(place.size)
        try:
            part = json.loads(content)["parts"][modality]
            return StoredPart(tar, f"{place.key}.{modality}", start, self.index["modalities"][modality], part)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ShardError(tar, f"{name!r} is not what `locomt prepare` writes: {error!r:.200}") from None


class StoredPart:
    """One modality of one stored sample; what a source reads from, as it reads from a file.

    Args:
        tar: the shard.
        name: what the names of its members begin with.
        start: where the headers of the sample's parts begin.
        fields: what `stored_fields` said of the modality.
        part: the entry of the sample's JSON: `offset` from `start`; `members`, of each the end of its name, its size
            and its CRC-32; of media the `span` of the file; of a video the `total` frames of the clip, the `places`
            among them of those stored and the `seconds` at which all are shown; of a sound the `scale` of its samples
            and the second at which they `begin`; of features the `total` vectors of the file.
    """

    def __init__(self, tar: Path, name: str, start: int, fields: Mapping[str, Any], part: Mapping[str, Any]) -> None:
        self.tar, self.name, self.fields = tar, name, fields
        self.members = [(str(end), int(size), int(crc32)) for end, size, crc32 in part["members"]]
        self.total, self.scale = int(part.get("total", 0)), float(part.get("scale", 1))
        first, last = part.get("span", (0, 0))
        self.begin, self.span = float(part.get("begin", 0)), (float(first), float(last))
        self.places = [int(place) for place in part.get("places", ())]
        self.chosen = [int(place) for place in part.get("chosen", ())]
        self.times = _frame_times(part) if part.get("seconds") else None
        if not all(map(math.isfinite, (self.begin, *self.span))):
            raise ValueError("expected times in seconds")
        if not (self.members and 0 <= self.total < 2**32 and 0 < self.scale <= 2**128):
            raise ValueError(f"expected stored members, got {self.members} of {self.total}, scaled by {self.scale:g}")
        sizes = [member_bytes(size) for _, size, _ in self.members]
        self.offsets = list(accumulate(sizes, initial=start + int(part["offset"])))

    def __str__(self) -> str:
        return f"{self.tar}: {self.name}"

    def _bytes(self, place: int = 0) -> tuple[str, bytes]:
        end, size, crc32 = self.members[place]
        return end, read_member(self.tar, self.offsets[place], f"{self.name}.{end}", size, crc32)

    def read_crops(
        self, count: int, crops: Sequence[Crop | None], *, size: int, stream: int | None = None
    ) -> list[UInt8[Tensor, "frames 3 size size"]]:
        """What `locomt.data.read_frames` gives for each of the crops, each frame being the nearest that is stored.

        Raises:
            DataError: the shard is damaged.
        """
        import torch

        from locomt.data.media.frame_times import pick
        from locomt.data.shards.encoding import decode_image

        assert stream == self.fields.get("stream"), f"checked when the shards were opened: {stream}"
        places = self.places
        if not 0 < len(places) == len(self.members) <= self.total:
            reason = f"expected frames at {len(places)} places of {self.total}, got {len(self.members)}"
            raise ShardError(str(self), reason)
        if not all(0 <= place < self.total for place in (*places, *self.chosen)):
            raise ShardError(str(self), f"expected places from 0 to {self.total - 1}, got others")
        if self.times is not None and len(self.times.begins) != self.total:
            raise ShardError(str(self), f"expected the times of {self.total} frames, got {len(self.times.begins)}")
        when: Sequence[float] = range(self.total)
        if self.times is not None and not self.times.even:
            when = self.times.begins
        stored = [when[place] for place in places]

        def wanted(crop: Crop | None) -> Sequence[int]:
            if crop is None and len(self.chosen) == count:
                return self.chosen
            return pick(self.total, self.times, count, crop)

        chosen = [
            [min(range(len(stored)), key=lambda n: abs(stored[n] - when[place])) for place in wanted(crop)]
            for crop in crops
        ]
        images = {n: decode_image(str(self), *self._bytes(n), size) for n in sorted(set().union(*chosen))}
        return [torch.stack([images[n] for n in part]) for part in chosen]

    def read_audio(self, rate: int, stream: int | None = None) -> Sound:
        """What `locomt.data.read_audio` gives for the recording, and at what second of its clock that begins.

        Raises:
            DataError: the shard is damaged.
        """
        from locomt.data.media.sound import Sound
        from locomt.data.shards.encoding import decode_sound

        asked, stored = (rate, stream), (self.fields["rate"], self.fields.get("stream"))
        assert asked == stored, f"checked when the shards were opened: {asked}"
        samples = decode_sound(str(self), *self._bytes(), self.scale)
        return Sound(samples, self.begin, None if samples.any() else "all-zero audio throughout")

    def read_features(self, max_length: int) -> tuple[Float[Tensor, "time dim"], tuple[int, int]]:
        """The leading vectors, and the shape of the whole array that they were taken from.

        Raises:
            DataError: the shard is damaged.
        """
        from locomt.data.shards.encoding import decode_array

        features = decode_array(str(self), self._bytes()[1], ndim=2)
        return features[:max_length], (self.total, features.shape[1])
