"""Frames spread evenly over a clip, and no more decoded than they depend on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from locomt.data.errors import MediaError
from locomt.data.media import Crop, naming, stream_of
from locomt.data.media_file import MediaFile, MediaFiles

if TYPE_CHECKING:
    from jaxtyping import UInt8

NEVER_REFERENCED = {"h264", "mpeg1video", "mpeg2video"}
"""Codecs that mark the frames from which no other is decoded. HEVC's mark holds within a temporal layer only."""


def spread(total: int, count: int) -> list[int]:
    """The frames in the middle of `count` equal parts of `total` frames; some of them repeated if there are fewer."""
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


def read_frames(
    path: str | Path, count: int, *, size: int | None = None, crop: Crop | None = None
) -> UInt8[Tensor, "frames 3 height width"]:
    """Read `count` frames spread evenly over a clip, as RGB and upright.

    The packets are read first, which is cheap and tells the times of all frames whatever the header says; then those
    from the last key frame before each wanted frame up to it are decoded.

    Args:
        path: the clip.
        count: how many frames: the one in the middle of each of `count` equal parts. In a clip of fewer frames some
            come several times.
        size: the square in the middle scaled to this height and width (bilinear, antialiased); None leaves the
            frames as they are.
        crop: take them from this part of the clip alone.

    Raises:
        NoStreamError: there is no video stream.
        MediaError: the file is missing, empty, truncated or no media file.
    """
    with MediaFiles() as files:
        return files.open(Path(path)).read_crops(count, (crop,), size=size)[0]


def crops_of(
    file: MediaFile, count: int, crops: Sequence[Crop | None], *, size: int | None
) -> list[UInt8[Tensor, "frames 3 height width"]]:
    """What `read_frames` gives for each of the crops; what several of them need is decoded once."""

    def choose(total: int, seconds: Sequence[float] | None) -> list[list[int]]:
        return [pick(total, seconds, count, crop) for crop in crops]

    clip = map_frames(file, lambda *known: set().union(*choose(*known)), lambda pixels: pixels, size=size)
    chosen = choose(clip.total, clip.seconds)
    return [_stack(file.path, [clip.frames[place] for place in places]) for places in chosen]


def pick(total: int, seconds: Sequence[float] | None, count: int, crop: Crop | None) -> list[int]:
    """The `count` frames that `read_frames` takes of a clip: of `total`, shown at these `seconds`."""
    places = crop.places(total, seconds) if crop else range(total)
    return [places[place] for place in spread(len(places), count)]


Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Frames(Generic[Kept]):
    """Chosen frames of a clip.

    Attributes:
        total: frames of the whole clip.
        seconds: when each of all the frames is shown; None where only their order can be trusted.
        frames: place among all frames -> what was made of it, in the order of being shown.
    """

    total: int
    seconds: list[float] | None
    frames: dict[int, Kept]


def map_frames(
    file: MediaFile,
    choose: Callable[[int, Sequence[float] | None], Collection[int]],
    take: Callable[[UInt8[Tensor, "3 height width"]], Kept],
    *,
    size: int | None,
) -> Frames[Kept]:
    """Decode the frames that are chosen, one after the other, and keep what `take` makes of each.

    Args:
        file: the clip, open.
        choose: told how many frames there are and at what second each is shown (None where only their order can be
            trusted); says at which places the wanted ones are. Asked again where there turn out to be others.
        take: what is kept of a frame.
        size: as for `read_frames`.

    Raises:
        NoStreamError, MediaError: as for `read_frames`.
    """
    with naming(file.path):
        packets, unit = _scan(file)
        shown = _times(packets)

        def keep(frame: Any) -> Kept:
            return take(_to_tensor(file.path, frame, size))

        if shown:
            seconds = [float(time * unit) for time in shown]
            places = {shown[place]: place for place in choose(len(shown), seconds)}
            frames = _map_at(file, packets, places, keep)
            if len(frames) == len(places):
                return Frames(len(shown), seconds, frames)
        # There are packets without a time or without a frame: only the order of the frames can be trusted.
        return _map_in_order(file, sum(packet.shown for packet in packets) or len(packets), choose, keep)


def seconds_shown(file: MediaFile) -> list[float] | None:
    """When each of a clip's frames is shown, in ascending order; None where only their order can be trusted.

    Raises:
        NoStreamError, MediaError: as for `read_frames`.
    """
    with naming(file.path):
        packets, unit = _scan(file)
    return [float(time * unit) for time in _times(packets)] or None


@dataclass(frozen=True)
class _Packet:
    """An encoded frame: when it is shown (in the stream's unit), whether decoding can begin here, if it is shown."""

    time: int | None
    key: bool
    shown: bool


def _scan(file: MediaFile) -> tuple[list[_Packet], Fraction]:
    """All packets of the video stream in the order in which they are decoded, and the unit of their times."""
    unit = stream_of(file.path, file.container, "video").time_base
    packets = [_Packet(packet.pts, packet.is_keyframe, not packet.is_discard) for packet in file.packets("video")]
    if not packets:
        raise MediaError(file.path, "the video stream holds no frames")
    return packets, unit


def _times(packets: Sequence[_Packet]) -> list[int]:
    """When the frames are shown, in ascending order; nothing where one lacks its time, or two have the same."""
    times = sorted(packet.time for packet in packets if packet.shown and packet.time is not None)
    return times if len(times) == sum(packet.shown for packet in packets) == len(set(times)) else []


def _needed(packets: Sequence[_Packet], wanted: set[int]) -> list[bool]:
    """Which packets the wanted frames are decoded from.

    A frame that is shown before a key frame but comes after it in the file may depend on what is before the key
    frame, so decoding begins at the last key frame that is not shown later than the wanted frame.
    """
    needed = [False] * len(packets)
    keys: list[int] = []
    for place, packet in enumerate(packets):
        if packet.key:
            keys.append(place)
        if packet.time in wanted and packet.shown:
            assert packet.time is not None
            begin = next((key for key in reversed(keys) if (packets[key].time or 0) <= packet.time), 0)
            needed[begin : place + 1] = [True] * (place + 1 - begin)
    return needed


def _map_at(
    file: MediaFile, packets: Sequence[_Packet], places: Mapping[int, int], take: Callable[[Any], Kept]
) -> dict[int, Kept]:
    """The frames shown at the times that `places` maps to their places, as far as they are found."""
    decoded = _decode(file, _needed(packets, set(places)), set(places))
    return {places[frame.pts]: take(frame) for frame in decoded if frame.pts in places}


def _map_in_order(
    file: MediaFile,
    total: int,
    choose: Callable[[int, Sequence[float] | None], Collection[int]],
    take: Callable[[Any], Kept],
) -> Frames[Kept]:
    """Decode the whole clip, which is thought to have `total` frames; once more where it has another number."""
    places = set(choose(total, None))
    frames, seen = {}, 0
    for place, frame in enumerate(_decode(file)):
        seen = place + 1
        if place in places:
            frames[place] = take(frame)
    if not seen:
        raise MediaError(file.path, "not one frame could be decoded")
    if seen != total:
        return _map_in_order(file, seen, choose, take)
    return Frames(total, None, frames)


def _decode(file: MediaFile, needed: Sequence[bool] | None = None, wanted: set[int] | None = None) -> Iterator[Any]:
    """The frames that come out of the needed packets (all of them when left out), in the order of being shown.

    Frames which are neither in `wanted` nor needed for another are left out where the codec tells them apart.
    """
    last = len(needed) - 1 - needed[::-1].index(True) if needed is not None else None
    context: Any = None
    for place, packet in enumerate(file.packets("video")):
        if needed is None or needed[place]:
            if context is None:
                context = packet.stream.codec_context
                context.flush_buffers()  # it may have decoded something before
            if context.name in NEVER_REFERENCED:
                context.skip_frame = "NONREF" if wanted is not None and packet.pts not in wanted else "DEFAULT"
            yield from packet.decode()
        elif context is not None:
            yield from context.decode(None)
            context = None
        if place == last:
            break
    if context is not None:
        yield from context.decode(None)


def _to_tensor(path: Path, frame: Any, size: int | None) -> UInt8[Tensor, "3 height width"]:
    if frame.is_corrupt:
        raise MediaError(path, f"truncated or damaged: the frame at {frame.time or 0:.2f} s cannot be decoded")
    image = frame.to_ndarray(format="rgb24")
    if size is not None:
        image = _square(image)
    image = np.rot90(image, round(frame.rotation / 90) % 4)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if size is not None and pixels.shape[1:] != (size, size):
        pixels = interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)[0]
    return pixels


def _square(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _stack(path: Path, frames: list[Tensor]) -> Tensor:
    if len({frame.shape for frame in frames}) > 1:
        raise MediaError(path, "its frames change in size; name a size to scale them to")
    return torch.stack(frames)
