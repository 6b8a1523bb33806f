"""The packets of an open media file, read once for its times, its pictures and its sound."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from locomt.data.errors import MediaError
from locomt.data.media.container import (
    Kind,
    best_stream,
    naming,
    opened,
    packets_of,
    stated_span,
    stream_of,
    streams_of,
)

KEPT = 2**26
"""Bytes of packets that stay in memory; those of a larger file are read again whenever they are needed."""


class PacketFile:
    """An open container whose packets are read once; valid while it is open.

    Args:
        path: the file, for the errors.
        container: of PyAV.
    """

    def __init__(self, path: Path, container: Any) -> None:
        self.path, self.container = path, container
        streams = [best_stream(container, kind) for kind in ("video", "audio")]
        self.streams = [stream for stream in streams if stream is not None]
        self._kept: dict[int, list[Any]] | MediaError | None = None

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
