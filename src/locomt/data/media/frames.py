"""Frames spread evenly over a clip, and no more decoded than they depend on."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from av.sidedata.sidedata import SideDataContainer

from locomt.data.errors import MediaError
from locomt.data.media.box import Box, part_of
from locomt.data.media.container import naming, stream_of
from locomt.data.media.crop import Crop
from locomt.data.media.frame_times import FrameTimes, pick
from locomt.data.media.packets import PacketFile
from locomt.data.media.recording import Frames, Kept, OpenFile
from locomt.data.media.scale import scaled

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

# Torch is imported where tensors are made: a runtime without it takes arrays.

NEVER_REFERENCED = {"h264", "mpeg1video", "mpeg2video"}
"""Codecs that mark the frames from which no other is decoded. HEVC's mark holds within a temporal layer only."""


def crops_of(
    file: OpenFile, count: int, crops: Sequence[Crop | None], *, size: int | None, stream: int | None, box: Box | None
) -> list[UInt8[Tensor, "frames 3 height width"]]:
    """What `read_frames` gives for each of the crops; what several of them need is decoded once."""

    def choose(total: int, times: FrameTimes | None) -> list[list[int]]:
        return [pick(total, times, count, crop) for crop in crops]

    clip = file.map_frames(
        lambda *known: set().union(*choose(*known)), lambda pixels: pixels, size=size, stream=stream, box=box
    )
    chosen = choose(clip.total, clip.times)
    return [_stack(file.path, [clip.frames[place] for place in places]) for places in chosen]


def map_frames(
    file: PacketFile,
    choose: Callable[[int, FrameTimes | None], Collection[int]],
    take: Callable[[UInt8[Tensor, "3 height width"]], Kept],
    *,
    size: int | None,
    stream: int | None,
    box: Box | None,
    fit: Callable[..., Any] | None = None,
) -> Frames[Kept]:
    """What `OpenFile.map_frames` promises; `fit` in place of `fitted`."""
    with naming(file.path):
        packets, unit = _scan(file, stream)
        shown = _times(packets)

        def keep(frame: Any) -> Kept:
            return take(_pixels(file.path, frame, size, box, fit or fitted))

        def decode(needed: Sequence[bool] | None = None, wanted: set[int] | None = None) -> Iterator[Any]:
            return _decode(file, stream, needed, wanted)

        if shown:
            times = _in_seconds(packets, shown, unit)
            places = {shown[place]: place for place in choose(len(shown), times)}
            decoded = decode(_needed(packets, set(places)), set(places))
            frames = {places[frame.pts]: keep(frame) for frame in decoded if frame.pts in places}
            if len(frames) == len(places):
                return Frames(len(shown), times, frames)
        # There are packets without a time or without a frame: only the order of the frames can be trusted.
        total = sum(packet.shown for packet in packets) or len(packets)
        return _map_in_order(file.path, decode, total, choose, keep)


def times_of(file: PacketFile, stream: int | None) -> FrameTimes | None:
    """When the frames of a clip are shown; None where only their order can be trusted.

    Raises:
        NoStreamError, MediaError: as for `read_frames`.
    """
    with naming(file.path):
        packets, unit = _scan(file, stream)
        shown = _times(packets)
        return _in_seconds(packets, shown, unit) if shown else None


def is_mirrored(file: PacketFile, stream: int | None) -> bool:
    """Whether a clip says that it is to be shown as in a mirror.

    Raises:
        NoStreamError, MediaError: as for `read_frames`.
    """
    with naming(file.path):
        first = next(_decode(file, stream), None)
        a, b, _, c, d, *_ = _display_matrix(first) if first is not None else _AS_IT_IS
        return a * d - b * c < 0


@dataclass(frozen=True)
class _Packet:
    """An encoded frame: when it is shown and how long (in the stream's unit), whether decoding can begin here, if it is
    shown."""

    time: int | None
    duration: int
    key: bool
    shown: bool


def _scan(file: PacketFile, stream: int | None) -> tuple[list[_Packet], Fraction]:
    """All packets of the video stream in the order in which they are decoded, and the unit of their times."""
    unit = stream_of(file.path, file.container, "video", stream).time_base or Fraction(1)
    packets = [
        _Packet(packet.pts, packet.duration or 0, packet.is_keyframe, not packet.is_discard)
        for packet in file.packets("video", stream)
    ]
    if not packets:
        raise MediaError(file.path, "the video stream holds no frames")
    return packets, unit


def _times(packets: Sequence[_Packet]) -> list[int]:
    """When the frames are shown, in ascending order; nothing where one lacks its time, or two have the same."""
    times = sorted(packet.time for packet in packets if packet.shown and packet.time is not None)
    return times if len(times) == sum(packet.shown for packet in packets) == len(set(times)) else []


def _in_seconds(packets: Sequence[_Packet], shown: Sequence[int], unit: Fraction) -> FrameTimes:
    last = next(packet for packet in packets if packet.shown and packet.time == shown[-1])
    end = float((shown[-1] + last.duration) * unit) if last.duration > 0 else None
    return FrameTimes([float(time * unit) for time in shown], end, float(unit))


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


def _map_in_order(
    path: Path,
    decode: Callable[[], Iterator[Any]],
    total: int,
    choose: Callable[[int, FrameTimes | None], Collection[int]],
    take: Callable[[Any], Kept],
) -> Frames[Kept]:
    """Decode the whole clip, which is thought to have `total` frames; once more where it has another number."""
    places = set(choose(total, None))
    frames, seen = {}, 0
    for place, frame in enumerate(decode()):
        seen = place + 1
        if place in places:
            frames[place] = take(frame)
    if not seen:
        raise MediaError(path, "not one frame could be decoded")
    if seen != total:
        return _map_in_order(path, decode, seen, choose, take)
    return Frames(total, None, frames)


def _decode(
    file: PacketFile, stream: int | None, needed: Sequence[bool] | None = None, wanted: set[int] | None = None
) -> Iterator[Any]:
    """The frames that come out of the needed packets (all of them when left out), in the order of being shown.

    Frames which are neither in `wanted` nor needed for another are left out where the codec tells them apart.
    """
    last = len(needed) - 1 - needed[::-1].index(True) if needed is not None else None
    context: Any = None
    for place, packet in enumerate(file.packets("video", stream)):
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


def _pixels(path: Path, frame: Any, size: int | None, box: Box | None, fit: Callable[..., Any]) -> Any:
    if frame.is_corrupt:
        raise MediaError(path, f"truncated or damaged: the frame at {frame.time or 0:.2f} s cannot be decoded")
    if not frame.width * frame.height:
        raise MediaError(path, f"damaged: the frame at {frame.time or 0:.2f} s has no pixels")
    return fit(frame.to_ndarray(format="rgb24"), size, _display_matrix(frame), box)


_AS_IT_IS = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def _display_matrix(frame: Any) -> Sequence[int]:
    """The nine numbers that say how a frame is turned for being shown, and whether it is mirrored."""
    # `frame.side_data` is the same and keeps the frame alive, and with it the decoder, until garbage is collected.
    side_data: Any = SideDataContainer
    found = side_data(frame).get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(found)[:36]) if found is not None else _AS_IT_IS


def fitted(
    image: np.ndarray[Any, Any], size: int | None, matrix: Sequence[int] = _AS_IT_IS, box: Box | None = None
) -> UInt8[Tensor, "3 height width"]:
    """An image `[height, width, 3]` of bytes as its display matrix shows it, to the next quarter of a turn; what lies
    in a box of it, and the square in the middle of that scaled to the size."""
    import torch
    from torch.nn.functional import interpolate

    image = _turned(image, size, matrix, box)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)  # also of one row or column, which NumPy leaves reversed
    if size is not None and pixels.shape[1:] != (size, size):
        pixels = interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)[0]
    return pixels


def fitted_array(
    image: np.ndarray[Any, Any], size: int | None, matrix: Sequence[int] = _AS_IT_IS, box: Box | None = None
) -> np.ndarray[Any, Any]:
    """What `fitted` gives, to the bit, without torch."""
    image = _turned(image, size, matrix, box)
    return (image if size is None else scaled(image, size)).transpose(2, 0, 1)


def _turned(
    image: np.ndarray[Any, Any], size: int | None, matrix: Sequence[int], box: Box | None
) -> np.ndarray[Any, Any]:
    if box is not None:
        image, matrix = _upright(image, matrix), _AS_IT_IS
        rows, columns = part_of(image.shape[0], image.shape[1], box)
        image = image[rows, columns]
    if size is not None:
        image = _square(image)
    return _upright(image, matrix)


def _upright(image: np.ndarray[Any, Any], matrix: Sequence[int]) -> np.ndarray[Any, Any]:
    right, down, _, right_of_down, down_of_down, *_ = matrix
    if abs(right) + abs(down_of_down) < abs(down) + abs(right_of_down):
        image, right, down_of_down = image.swapaxes(0, 1), right_of_down, down
    return image[:: -1 if down_of_down < 0 else 1, :: -1 if right < 0 else 1]


def _square(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _stack(path: Path, frames: list[Any]) -> Any:
    if len({frame.shape for frame in frames}) > 1:
        raise MediaError(path, "its frames change in size; name a size to scale them to")
    if isinstance(frames[0], np.ndarray):
        return np.stack(frames)
    import torch

    return torch.stack(frames)
