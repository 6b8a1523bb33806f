"""Writing one shard: samples to bytes, bytes to a tar, the tar to its place whole or not at all."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from locomt.data.config import DataConfig
from locomt.data.errors import DataError, SilentError
from locomt.data.features import check_features, leading_vectors, vector_count
from locomt.data.manifest import Row, resolve
from locomt.data.media.frame_times import FrameTimes, pick
from locomt.data.media.pyav import MediaFile, MediaFiles
from locomt.data.shards.encoding import IMAGES, SOUNDS, encode_array, encode_image, encode_sound
from locomt.data.shards.reader import Place
from locomt.data.shards.tar import member_bytes, sha256
from locomt.data.sources import AudioSource, FeatureSource, TextSource, VideoSource
from locomt.faults import tell_of_machine
from locomt.files import replacing, to_json
from locomt.nn.config import ConfigError

LONGEST_NAME = 32
"""Characters of a modality's name, so that the names of members fit into a tar's plain headers."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How samples are stored.

    Attributes:
        images: `jpeg`, or `png`, which loses nothing.
        quality: of JPEG, 1 to 100.
        sound: `flac` of 16 bits, or `npy` of float32, which loses nothing.
        fps: frames a second that are stored besides those which the recipe asks for; 0 stores all there are, None
            none but those of the recipe.
        samples: to a shard.
        seed: of the order in which the samples of a split are laid out.
    """

    images: str = "jpeg"
    quality: int = 95
    sound: str = "flac"
    fps: float | None = None
    samples: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("images", self.images, IMAGES), ("sound", self.sound, SOUNDS)):
            if value not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality: expected 1 to 100, got {self.quality}")
        if self.fps is not None and not 0 <= self.fps < float("inf"):
            raise ConfigError(f"fps: expected frames a second, or 0 for all, got {self.fps}")
        if self.samples < 1:
            raise ConfigError(f"samples to a shard: expected 1 or more, got {self.samples}")


@dataclass(frozen=True)
class Part:
    """One modality of a sample: its members as the end of the name and the content, and what the JSON says besides."""

    members: list[tuple[str, bytes]]
    fields: dict[str, Any]


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


def read_parts(row: Row, config: DataConfig, storage: Storage) -> tuple[dict[str, Part], dict[str, dict[str, str]]]:
    """What a row's modalities are stored as, and for those that cannot be read the file and the reason."""
    parts, failed = {}, {}
    manifest = Path(config.manifest)
    with MediaFiles() as files:
        for name, source in config.modalities.items():
            cell = row.cells[source.column].strip()
            if not cell:
                continue
            try:
                if isinstance(source, TextSource):
                    parts[name] = Part([("txt", cell.encode("utf-8", errors="replace"))], {})
                    continue
                path = resolve(cell, manifest, allow_outside=config.allow_outside)
                if isinstance(source, FeatureSource):
                    parts[name] = _read_features(path, source)
                else:
                    read = _read_video if isinstance(source, VideoSource) else _read_audio
                    parts[name] = read(files.open(path), source, storage)
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


def _read_features(file: Path, source: FeatureSource) -> Part:
    features, shape = leading_vectors(file, source.max_length, source.dim)
    features = check_features(file, features, shape, dim=source.dim)
    return Part([("npy", encode_array(features))], {"total": vector_count(shape)})


def _read_audio(file: MediaFile, source: AudioSource, storage: Storage) -> Part:
    samples, begin, silence = file.read_audio(source.rate, source.stream)
    if silence:
        raise SilentError(file.path, silence)
    content, scale = encode_sound(samples, source.rate, storage.sound)
    fields = {"span": source.span(file), "begin": begin, "scale": scale}
    return Part([(SOUNDS[storage.sound], content)], fields)


def _read_video(file: MediaFile, source: VideoSource, storage: Storage) -> Part:
    def choose(total: int, times: FrameTimes | None) -> set[int]:
        return set(pick(total, times, source.frames, None)) | set(_every(total, times, storage.fps))

    def encode(pixels: Tensor) -> bytes:
        return encode_image(pixels, storage.images, storage.quality)

    clip = file.map_frames(choose, encode, size=source.size, stream=source.stream)
    places, times = sorted(clip.frames), clip.times
    end = IMAGES[storage.images]
    members = [(f"{number:06d}.{end}", clip.frames[place]) for number, place in enumerate(places)]
    fields = {"span": file.span, "total": clip.total, "places": places}
    if storage.fps is None:  # no other frames can be asked for
        return Part(members, {**fields, "chosen": pick(clip.total, times, source.frames, None)})
    known = times and {"seconds": times.begins, "end": times.end, "unit": times.unit}
    return Part(members, {**fields, **(known or {})})


def _every(total: int, times: FrameTimes | None, fps: float | None) -> Sequence[int]:
    """The places of `fps` frames a second: the first that is shown in each of the equal stretches of time."""
    if fps is None:
        return ()
    if not fps or times is None:
        return range(total)
    seconds = times.begins
    last = int((seconds[-1] - seconds[0]) * fps)
    found = [bisect_left(seconds, seconds[0] + number / fps) for number in range(last + 1)]
    return [place for place in found if place < total]


def _sample_json(row: Row, parts: dict[str, Part], failed: dict[str, dict[str, str]]) -> bytes:
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
