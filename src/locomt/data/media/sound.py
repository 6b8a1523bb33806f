"""Sound: from any media file to one channel at the wanted rate, and cut in time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locomt.data.errors import MediaError
from locomt.data.media.container import naming, stated_span
from locomt.data.media.crop import Crop
from locomt.data.media.packets import PacketFile
from locomt.data.media.samples import Loudness, resampled
from locomt.data.media.sound_time import TIMED, Clock, formats, stated_end

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

LONGEST = 6
"""Hours of sound that are held in memory. A few kilobytes can claim to be far more."""


def sound_of(file: PacketFile, rate: int, stream: int | None) -> tuple[np.ndarray[Any, Any], float, str | None]:
    """What `Sound` has of an open file, its samples as an array."""
    begin, end = stated_span(file.container) or (0.0, 0.0)
    if end - begin > LONGEST * 3600:
        raise _too_long(file.path)
    loudness, clock = Loudness(), Clock(timed=bool(TIMED & formats(file.container)))
    parts: list[np.ndarray[Any, Any] | int] = []
    room = LONGEST * 3600 * rate
    with naming(file.path):
        frames = _decoded(file, stream)
        first = next(frames, None)
        if first is None:
            raise MediaError(file.path, "the audio stream holds no samples")
        start = first.time or 0.0
        for part in resampled(file.path, clock.follow(chain((first,), frames)), rate, loudness):
            parts.append(part)
            room -= 0 if isinstance(part, int) else len(part)
            if room < 0:
                raise _too_long(file.path)
    clock.check(file.path)
    length = sum(part if isinstance(part, int) else len(part) for part in parts)
    if length > LONGEST * 3600 * rate:
        raise _too_long(file.path)
    if not length:
        raise MediaError(file.path, "the audio stream holds no samples")
    samples = np.concatenate([np.zeros(part, np.float32) if isinstance(part, int) else part for part in parts])
    if not np.isfinite(samples).all():
        raise MediaError(file.path, "expected finite samples, got NaN or an infinite number")
    end = stated_end(file, stream, start + length / rate)
    samples = samples[: max(1, round((end - start) * rate))]
    return samples, start, loudness.silence


def _too_long(path: Path) -> MediaError:
    return MediaError(path, f"expected at most {LONGEST} hours of sound, got more; cut it into pieces")


def cut(samples: Float[Tensor, " samples"], start: float, rate: int, crop: Crop) -> Float[Tensor, " part"]:
    """The samples within a crop, up to their end, with silence before they begin; `start` is when they do.

    Where they have ended before the crop, all of it is silence.
    """
    import torch

    return samples if math.isinf(crop.begin) else torch.from_numpy(cut_array(samples.numpy(), start, rate, crop))


def cut_array(samples: np.ndarray[Any, Any], start: float, rate: int, crop: Crop) -> np.ndarray[Any, Any]:
    """What `cut` gives, of an array."""
    if math.isinf(crop.begin):
        return samples
    first, last = (round((time - start) * rate) for time in (crop.begin, crop.end))
    last = max(last, first + 1)
    if first >= len(samples):
        return np.zeros(last - first, samples.dtype)
    silence = np.zeros(min(max(0, -first), last - first), samples.dtype)
    return np.concatenate([silence, samples[max(0, first) : max(0, last)]])


def _decoded(file: PacketFile, stream: int | None) -> Iterator[Any]:
    context: Any = None
    for packet in file.packets("audio", stream):
        if context is None:
            context = packet.stream.codec_context
        yield from packet.decode()
    if context is not None:
        yield from context.decode(None)
