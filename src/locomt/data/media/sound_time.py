"""When sound is heard: the holes that the times of its frames leave, and where a file says that it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from locomt.data.errors import MediaError
from locomt.data.media import container as media
from locomt.data.media.packets import PacketFile

HOLE = 0.05
"""Seconds by which a frame must come late for silence to stand before it. Less is how containers round and jitter; what
adds up over many frames counts as well."""
RESTART = 1.0
"""Seconds by which a time must jump back to be that of another beginning, as where recordings were joined."""
ROUNDED = 0.002
"""Seconds by which Matroska, which counts milliseconds, may err about the end."""

TIMED = {"mov", "matroska", "ogg", "flv", "mpeg", "mpegts"}
"""Formats that hold the times of their packets. All others count bytes or frames: nothing can be missing between two,
and where the count is wrong, as that of AVI with a variable bit rate, no hole is meant by it. Those of ASF speak of
packets from which codecs take more or less than one frame."""


def formats(container: Any) -> set[str]:
    """FFmpeg's names of a container's format."""
    return set(container.format.name.split(","))


class Clock:
    """When the next frame of a stream is due: when those before it end.

    Args:
        timed: whether the times of the frames are to be relied on.

    Attributes:
        heard, missing: the seconds of all frames so far, and of the holes between them.
    """

    def __init__(self, *, timed: bool) -> None:
        self.timed = timed
        self.heard = self.missing = 0.0

    def follow(self, frames: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Each of the frames, in their order, after how many samples, at its rate, are missing before it.

        Frames that come too early, or have no time, follow at once: no sound is left out.
        """
        due: float | None = None
        for frame in frames:
            missing, rate, time = 0, frame.sample_rate, frame.time if self.timed else None
            if time is not None and (due is None or time < due - RESTART):
                due = time
            elif time is not None and due is not None and time > due + HOLE:
                missing = round((time - due) * rate)
            if due is not None:
                due += (missing + frame.samples) / rate
            self.heard += frame.samples / rate
            self.missing += missing / rate
            yield missing, frame

    def check(self, path: Path) -> None:
        """Refuse a track of which more is missing than heard.

        Raises:
            MediaError: it is one; `path` is that of its file.
        """
        if self.missing > self.heard:
            raise MediaError(
                path,
                f"its sound is mostly holes: by the times of its packets {self.missing:.2f} of "
                f"{self.missing + self.heard:.2f} s are missing; record it again, or cut out what is there",
            )


def stated_end(file: PacketFile, number: int | None, end: float) -> float:
    """At what second a sound of a file ends that lasts up to `end` with what its codec added.

    MP4 says it by its edit list, Matroska by its duration; all others leave the rest out by themselves, or say nothing.
    What would cut off more than two packets speaks of something else.
    """
    packets = list(islice(file.packets("audio", number), 2))
    stream, stated = packets[0].stream, media.stated_end(file.container)
    if "mov" in formats(file.container) and stream.duration is not None:
        last = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    elif "matroska" in formats(file.container) and stated is not None:
        codec = stream.codec_context  # whose delay is part of the duration, but not of the times
        last = stated - codec.delay / (codec.sample_rate or 1) + ROUNDED
    else:
        return end
    added = 2 * float((packets[-1].duration or 0) * packets[-1].time_base)  # the first may have another duration
    return last if end - added <= last < end else end
