"""Media files as containers: opening them safely, what they say of themselves, their packets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import av
from av.stream import Disposition

from locomt.data.errors import MediaError, NoStreamError
from locomt.data.media.open_ended import source
from locomt.data.media.plain import refusal

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,vob,m4v,h264,hevc,ivf,obu,av1,mxf,"
    "ogg,wav,w64,mp3,aac,flac,aiff,au,caf,ac3,eac3,amr,ape,wv,tta"
)
"""What FFmpeg may open: containers of media. Playlists and scripts, which lead to other files or to the network, are
none of them; pictures are read by `locomt.data.media.picture`."""

STATED = {"mov", "matroska", "wav", "w64", "flac", "aiff", "caf"}
"""Formats whose header says reliably how long they are, so that a missing end shows; that of AVI and FLV lies."""
SLACK = 0.5
"""Seconds that the end may come earlier than stated: the header counts padding, the last packet lacks a duration."""

DAMAGED = "cannot be decoded, it is damaged or no media file of a known format"

MOST_PIXELS = 2**27
"""Of a frame: those of 16K video and a little more. A file of some kilobytes can claim to be of any size."""


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """A file's container.

    Raises:
        MediaError: the file is missing, empty, no file at all or none of `FORMATS`.
    """
    path = Path(path)
    check_file(path)
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    with source(path) as file:
        with naming(path):
            container = av.open(file, container_options=options, metadata_errors="replace")
        with container:
            yield container


def check_file(path: Path) -> None:
    """Refuse what no media can be read from, before anything opens it.

    Raises:
        MediaError: there is no file, or nothing in it.
    """
    if reason := refusal(path, "a media file"):
        raise MediaError(path, reason)
    if not path.stat().st_size:
        raise MediaError(path, "the file is empty")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever FFmpeg objects to within becomes a `MediaError` of this file."""
    try:
        yield
    except av.FFmpegError as error:
        raise MediaError(path, f"{DAMAGED} ({error.strerror})") from None
    except MemoryError:
        raise MediaError(path, "it takes more memory than there is") from None


Kind = Literal["video", "audio"]


def stream_of(path: Path, container: Any, kind: Kind, number: int | None = None) -> Any:
    """The stream of a kind that is asked for; see `best_stream` for what is taken where none is.

    Raises:
        NoStreamError: there is none, or none of that number.
        MediaError: it cannot be decoded, or its frames have more than `MOST_PIXELS`.
    """
    if number is None:
        stream = best_stream(container, kind)
        if stream is None:
            raise no_stream(path, kind, None, 0)
    else:
        streams = streams_of(container, kind)
        if number >= len(streams):
            raise no_stream(path, kind, number, len(streams))
        stream = streams[number]
        if stream.codec_context is None:
            raise MediaError(path, f"{kind} stream {number} is of a codec that cannot be decoded")
    if kind == "video":
        check_pixels(path, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # for frames that are larger than the first
    return stream


def no_stream(path: Path, kind: Kind, number: int | None, count: int) -> NoStreamError:
    """What is to be said of a file that lacks a stream, or that has `count` streams of the kind and not that one."""
    if number is None or not count:
        return NoStreamError(path, f"there is no {kind} stream that can be decoded")
    have = "one, which is stream 0" if count == 1 else f"{count}, counted from 0"
    return NoStreamError(path, f"there is no {kind} stream {number}: it has {have}")


def check_pixels(path: Path, width: int | None = None, height: int | None = None) -> None:
    """Refuse frames of more than `MOST_PIXELS`; of unknown size they are more.

    Raises:
        MediaError: they are too large.
    """
    if width is None or height is None or width * height > MOST_PIXELS:
        size = "more" if width is None else f"{width} x {height}"
        raise MediaError(path, f"expected frames of at most {MOST_PIXELS >> 20} megapixels, got {size}")


def streams_of(container: Any, kind: Kind) -> list[Any]:
    """All streams of a kind, in their order; the cover of a recording is no video."""
    return [s for s in getattr(container.streams, kind) if not s.disposition & Disposition.attached_pic]


def best_stream(container: Any, kind: Kind) -> Any:
    """The stream of a kind that FFmpeg calls best; None where there is none that can be decoded.

    That is one marked as default, then the one of the most data: of which more frames were found at the beginning,
    then of the higher bit rate where the container knows it, then the first. Where FFmpeg would take a cover, or what
    cannot be decoded, it is the one marked as default, then the one of the most pixels or channels.
    """
    streams = [stream for stream in streams_of(container, kind) if stream.codec_context is not None]
    best = container.streams.best(kind)

    def rank(stream: Any) -> tuple[bool, int]:
        context = stream.codec_context
        size = context.width * context.height if kind == "video" else context.channels
        return bool(stream.disposition & Disposition.default), size

    return best if best in streams else max(streams, key=rank, default=None)


def demuxed(container: Any) -> Iterator[Any]:
    """All packets of a container but the empty ones, which ask decoders for what they hold back."""
    try:
        for packet in container.demux():
            if packet.size:
                yield packet
    except IndexError:  # at the end PyAV asks for streams that the header did not announce, and has no place for them
        return


def packets_of(path: Path, container: Any, streams: Collection[Any]) -> Iterator[Any]:
    """All packets of some streams, of each in the order in which they are decoded.

    Raises:
        MediaError: the file is truncated: a packet is not whole, or the data end before the stated end.
    """
    end, wanted = 0.0, {stream.index for stream in streams}
    units = [float(stream.time_base or 0) for stream in container.streams]  # fractions are slow
    for packet in demuxed(container):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            end = max(end, (time + (packet.duration or 0)) * units[packet.stream_index])
        if packet.is_corrupt:
            raise MediaError(path, f"truncated or damaged at {end:.2f} s")
        if packet.stream_index in wanted:
            yield packet
    stated = stated_end(container)
    if stated is not None and end < stated - SLACK:
        raise MediaError(path, f"truncated: its header states {stated:.2f} s, its data end at {end:.2f} s")


def stated_span(container: Any) -> tuple[float, float] | None:
    """From when to when it lasts by its header, in seconds; None where that is not to be relied on."""
    end = stated_end(container)
    begin = (container.start_time or 0) / av.time_base
    return None if end is None or (begin > 0 and _is_matroska(container)) else (begin, end)


def stated_end(container: Any) -> float | None:
    """Up to when it lasts at least by its header, in seconds; None where that is not to be relied on.

    Of Matroska that begins late some programs, FFmpeg among them, count the duration from 0, others from its beginning.
    """
    if container.duration is None or not STATED & set(container.format.name.split(",")):
        return None
    begin = 0 if _is_matroska(container) else container.start_time or 0
    return float((begin + container.duration) / av.time_base)


def _is_matroska(container: Any) -> bool:
    return "matroska" in container.format.name.split(",")
