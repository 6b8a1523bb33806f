"""Media files as containers: opening them safely, what they say of themselves, their packets."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
from av.stream import Disposition

from locomt.data.errors import MediaError, NoStreamError
from locomt.data.open_ended import source

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,vob,m4v,h264,hevc,ivf,obu,av1,mxf,"
    "ogg,wav,w64,mp3,aac,flac,aiff,au,caf,ac3,eac3,amr,ape,wv,tta,gif,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe"
)
"""What may be opened: containers of media. Playlists and scripts, which lead to other files or to the network, are
none of them."""

STATED = {"mov", "matroska", "wav", "w64", "flac", "aiff", "caf"}
"""Formats whose header says reliably how long they are, so that a missing end shows; that of AVI and FLV lies."""
SLACK = 0.5
"""Seconds that the end may come earlier than stated: the header counts padding, the last packet lacks a duration."""

MOST_PIXELS = 2**27
"""Of a frame: those of 16K video and a little more. A file of some kilobytes can claim to be of any size."""

TICK = 1e-5
"""Seconds by which times that are meant to be equal may differ: containers round them, each in its own way."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a container says of its video stream.

    Attributes:
        codec: FFmpeg's name of it.
        width, height: in pixels, before rotation.
        fps: frames a second; None where it is not known.
        frames: how many; None where the container does not say.
        seconds: how long; None where the container does not say.
    """

    codec: str
    width: int
    height: int
    fps: float | None
    frames: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What a container says of its audio stream.

    Attributes:
        codec: FFmpeg's name of it.
        rate: samples a second.
        channels: how many.
        seconds: how long; None where the container does not say.
    """

    codec: str
    rate: int
    channels: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a container says of itself, which need not be true.

    Attributes:
        format: FFmpeg's names of it.
        seconds: how long it is; None where it does not say.
        video: of the stream that `read_frames` reads; None where there is none.
        audio: of the stream that `read_audio` reads; None where there is none.
    """

    format: str
    seconds: float | None
    video: VideoInfo | None
    audio: AudioInfo | None


def probe(path: str | Path) -> MediaInfo:
    """What the container says, nothing decoded.

    Raises:
        MediaError: the file is no media file.
    """
    with opened(path) as container:
        video, audio = best_stream(container, "video"), best_stream(container, "audio")
        return MediaInfo(
            format=container.format.name,
            seconds=container.duration / av.time_base if container.duration is not None else None,
            video=video and VideoInfo(
                codec=video.codec_context.name,
                width=video.codec_context.width,
                height=video.codec_context.height,
                fps=float(video.average_rate) if video.average_rate else None,
                frames=video.frames or None,
                seconds=_seconds(video),
            ),
            audio=audio and AudioInfo(
                codec=audio.codec_context.name,
                rate=audio.codec_context.sample_rate,
                channels=audio.codec_context.channels,
                seconds=_seconds(audio),
            ),
        )  # fmt: skip


@dataclass(frozen=True)
class Crop:
    """A stretch of a clip, for its pictures and its sound alike.

    Attributes:
        begin, end: in seconds, on the clock of the container's time stamps.
        share: the same as shares of the whole clip, for streams whose frames have no times.
    """

    begin: float
    end: float
    share: tuple[float, float]

    def places(self, total: int, seconds: Sequence[float] | None) -> range:
        """Those of `total` frames that are shown within it; the nearest one where there is none.

        Args:
            total: frames of the whole clip.
            seconds: when each begins to be shown, in ascending order; None where it is not known.
        """
        if seconds is None:
            first, last = math.floor(self.share[0] * total), math.ceil(self.share[1] * total)
        else:
            first, last = bisect_left(seconds, self.begin - TICK), bisect_left(seconds, self.end - TICK)
        if first >= last:
            first = min(max(0, first - 1), total - 1)
            last = first + 1
        return range(first, last)


def crop_at(span: tuple[float, float], seconds: float, place: float) -> Crop:
    """The crop of a length, as far from the beginning of a file as `place` says.

    Args:
        span: of the file.
        seconds: how long it is. Of a shorter file it holds the whole, and so it does where nothing says how long
            the file is.
        place: 0 is the first one, 1 the last one, 0.5 the one in the middle.
    """
    begin, end = span
    start = begin + place * (end - begin - seconds)
    if end - begin <= seconds:
        return Crop(-math.inf, math.inf, (0.0, 1.0))
    return Crop(start, start + seconds, ((start - begin) / (end - begin), (start + seconds - begin) / (end - begin)))


def moments(span: tuple[float, float], seconds: float, count: int) -> list[Crop]:
    """The middles of `count` equal parts of the first `seconds` of a file, as far as it reaches; one at least.

    A crop is so short that it holds one frame: that which is shown at its moment.
    """
    begin, end = span
    length = end - begin
    middles = [(2 * part + 1) * seconds / (2 * count) for part in range(count)]
    reached = [middle for middle in middles if middle < length] or [0.0]
    shares = [middle / length if length > 0 else 0.0 for middle in reached]
    return [
        Crop(begin + middle, begin + middle + 2 * TICK, (share, share + TICK))
        for middle, share in zip(reached, shares, strict=True)
    ]


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """A file's container; whatever FFmpeg objects to while it is open becomes a `MediaError`.

    Raises:
        MediaError: the file is missing, empty or none of `FORMATS`.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError(path, "expected a media file, got a folder" if path.is_dir() else "there is no such file")
    if not path.stat().st_size:
        raise MediaError(path, "the file is empty")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    with (
        source(path) as file,
        naming(path),
        av.open(file, container_options=options, metadata_errors="replace") as container,
    ):
        yield container


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever FFmpeg objects to within becomes a `MediaError` of this file."""
    try:
        yield
    except av.FFmpegError as error:
        reason = f"cannot be decoded, it is damaged or no media file of a known format ({error.strerror})"
        raise MediaError(path, reason) from None


def stream_of(path: Path, container: Any, kind: Literal["video", "audio"]) -> Any:
    """The stream of a kind that FFmpeg holds to be the main one; the cover of a recording is no video.

    Raises:
        NoStreamError: there is none.
        MediaError: its frames have more than `MOST_PIXELS`.
    """
    stream = best_stream(container, kind)
    if stream is None:
        raise NoStreamError(path, f"there is no {kind} stream that can be decoded")
    if kind == "video":
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MOST_PIXELS:
            reason = f"expected frames of at most {MOST_PIXELS >> 20} megapixels, got {width} x {height}"
            raise MediaError(path, reason)
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # for frames that are larger than the first
    return stream


def best_stream(container: Any, kind: Literal["video", "audio"]) -> Any:
    """As `stream_of`; None where there is none."""
    stream = container.streams.best(kind)
    if stream is None or stream.codec_context is None or stream.disposition & Disposition.attached_pic:
        return None
    return stream


def _seconds(stream: Any) -> float | None:
    return None if stream.duration is None else float(stream.duration * stream.time_base)


def packets_of(path: Path, container: Any, streams: Collection[Any]) -> Iterator[Any]:
    """All packets of some streams, of each in the order in which they are decoded.

    Raises:
        MediaError: the file is truncated: a packet is not whole, or the data end before the stated end.
    """
    end, wanted = 0.0, {stream.index for stream in streams}
    units = [float(stream.time_base or 0) for stream in container.streams]  # fractions are slow
    for packet in container.demux():
        if not packet.size:  # asks a decoder for what it holds back
            continue
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            end = max(end, (time + (packet.duration or 0)) * units[packet.stream_index])
        if packet.is_corrupt:
            raise MediaError(path, f"truncated or damaged at {end:.2f} s")
        if packet.stream_index in wanted:
            yield packet
    stated = stated_span(container)
    if stated and end < stated[1] - SLACK:
        raise MediaError(path, f"truncated: its header states {stated[1]:.2f} s, its data end at {end:.2f} s")


def stated_span(container: Any) -> tuple[float, float] | None:
    """From when to when it lasts by its header, in seconds; None where that is not to be relied on."""
    if container.duration is None or not STATED & set(container.format.name.split(",")):
        return None
    begin = (container.start_time or 0) / av.time_base
    return begin, begin + container.duration / av.time_base
