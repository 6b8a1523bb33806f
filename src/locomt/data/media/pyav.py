"""An open media file: read once, for the times, the pictures and the sound of however many crops."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locomt.data.errors import MediaError
from locomt.data.media.container import (
    Crop,
    Kind,
    best_stream,
    check_file,
    naming,
    opened,
    packets_of,
    stated_span,
    stream_of,
    streams_of,
)

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from locomt.data.media.frame_times import FrameTimes
    from locomt.data.media.frames import Frames, Kept
    from locomt.data.media.sound import Sound

KEPT = 2**26
"""Bytes of packets that stay in memory; those of a larger file are read again whenever they are needed."""


class MediaFile:
    """What sources read from, as they read from a `StoredPart`; valid while it is open.

    Args:
        path: the file, for the errors.
        container: of PyAV.
    """

    def __init__(self, path: Path, container: Any) -> None:
        self.path, self.container = path, container
        streams = [best_stream(container, kind) for kind in ("video", "audio")]
        self.streams = [stream for stream in streams if stream is not None]
        self._kept: dict[int, list[Any]] | MediaError | None = None
        self._sound: dict[tuple[int, int], Sound] = {}

    def __str__(self) -> str:
        return str(self.path)

    @property
    def span(self) -> tuple[float, float]:
        """From when to when it lasts, in seconds: by its header where that is reliable, else by its packets."""
        if stated := stated_span(self.container):
            return stated
        begin, end, counted = math.inf, -math.inf, 0
        with naming(self.path):
            for packet in chain.from_iterable(self.packets(stream.type) for stream in self.streams):
                counted += 1
                if packet.pts is not None:
                    first, last = _seconds_of(packet)
                    begin, end = min(begin, first), max(end, last)
        if end < begin:  # the packets of a bare stream have no times
            rate = self.streams[0].average_rate if self.streams and self.streams[0].type == "video" else None
            return 0.0, counted / float(rate) if rate else 0.0
        return begin, end

    def packets(self, kind: Kind, stream: int | None = None) -> Iterator[Any]:
        """All packets of a stream, in the order in which they are decoded.

        Args:
            kind: of the stream.
            stream: which of that kind, counted from 0; None is the main one.

        Raises:
            NoStreamError: there is none.
            MediaError: the file is truncated.
        """
        found = stream_of(self.path, self.container, kind, stream)
        if self._kept is None:
            self._kept = self._read()
        if isinstance(self._kept, MediaError):
            raise MediaError(self.path, self._kept.reason)
        if self._kept:
            yield from self._kept[found.index]
            return
        with opened(self.path) as container:
            found = stream_of(self.path, container, kind, stream)
            decode_alone(found)
            yield from packets_of(self.path, container, [found])

    def _read(self) -> dict[int, list[Any]] | MediaError:
        """The packets of each stream, or what is wrong with them; nothing where they are too many to be kept."""
        kinds: tuple[Kind, Kind] = ("video", "audio")
        every = [stream for kind in kinds for stream in streams_of(self.container, kind) if stream.codec_context]
        kept: dict[int, list[Any]] = {stream.index: [] for stream in every}
        size = 0
        for stream in every:
            decode_alone(stream)
        try:
            with naming(self.path):
                for packet in packets_of(self.path, self.container, every):
                    kept[packet.stream_index].append(packet)
                    size += packet.size
                    if size > KEPT:
                        return {}
        except MediaError as error:
            return error
        return kept

    def read_crops(
        self, count: int, crops: Sequence[Crop | None], *, size: int | None, stream: int | None = None
    ) -> list[UInt8[Tensor, "frames 3 height width"]]:
        """What `locomt.data.read_frames` gives for each of the crops; what several of them need is decoded once."""
        from locomt.data.media.frames import crops_of

        return crops_of(self, count, crops, size=size, stream=stream)

    def map_frames(
        self,
        choose: Callable[[int, FrameTimes | None], Collection[int]],
        take: Callable[[UInt8[Tensor, "3 height width"]], Kept],
        *,
        size: int | None,
        stream: int | None = None,
    ) -> Frames[Kept]:
        """Decode the frames that are chosen, one after the other, and keep what `take` makes of each.

        Args:
            choose: told how many frames there are and when each is shown (None where only their order can be
                trusted); says at which places the wanted ones are. Asked again where there turn out to be others.
            take: what is kept of a frame.
            size, stream: as for `locomt.data.read_frames`.

        Raises:
            NoStreamError, MediaError: as for `locomt.data.read_frames`.
        """
        from locomt.data.media.frames import map_frames

        return map_frames(self, choose, take, size=size, stream=stream)

    def read_audio(self, rate: int, stream: int | None = None) -> Sound:
        """What `locomt.data.read_audio` gives, at what second of the container's clock it begins, and if it is silent.

        It is PyAV that decodes it, whatever decodes the pictures.
        """
        from locomt.data.media.sound import sound_of

        index = stream_of(self.path, self.container, "audio", stream).index
        if (index, rate) in self._sound:
            return self._sound[index, rate]
        if any(index == other for other, _ in self._sound):  # AAC's decoder draws its noise from where it left off
            with MediaFiles() as files:
                return files.open(self.path).read_audio(rate, stream)
        self._sound[index, rate] = sound_of(self, rate, stream)
        return self._sound[index, rate]


class MediaFiles(ExitStack):
    """The media files that a sample is read from, each opened once and closed at the end of the `with` block.

    Args:
        decoder: one of `locomt.data.config.DECODERS`.

    Raises:
        ConfigError: it cannot be had here.
    """

    def __init__(self, decoder: str = "pyav") -> None:
        super().__init__()
        self._make = file_class(decoder)
        self._files: dict[Path, MediaFile] = {}

    def open(self, path: Path) -> MediaFile:
        """The file, open.

        Raises:
            MediaError: it is missing, empty or no media file.
        """
        from locomt.data.media.picture import is_picture, opened_picture

        if path not in self._files:
            check_file(path)
            if is_picture(path):
                self._files[path] = self.enter_context(opened_picture(path))
            else:
                self._files[path] = self._make(path, self.enter_context(opened(path)))
        return self._files[path]


def file_class(decoder: str) -> type[MediaFile]:
    """What a decoder's files are.

    Raises:
        ConfigError: it cannot be had here.
    """
    if decoder == "pyav":
        return MediaFile
    from locomt.data.media.torchcodec import TorchcodecCudaFile, TorchcodecFile, load_torchcodec

    load_torchcodec()
    return {"torchcodec": TorchcodecFile, "torchcodec-cuda": TorchcodecCudaFile}[decoder]


def decode_alone(stream: Any) -> None:
    """One thread for the decoder in a process that is one of many: FFmpeg would begin one a core for every file."""
    if multiprocessing.parent_process() is not None:
        stream.codec_context.thread_count = 1


def _seconds_of(packet: Any) -> tuple[float, float]:
    """When a packet begins and ends, less what is to be skipped at the beginning of a sound."""
    begin, stream = packet.pts, packet.stream
    if stream.type == "audio" and stream.start_time is not None:
        begin = max(begin, stream.start_time)
    end = max(begin, packet.pts + (packet.duration or 0))
    return float(begin * packet.time_base), float(end * packet.time_base)
