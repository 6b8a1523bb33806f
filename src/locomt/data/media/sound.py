"""Sound: from any media file to one channel at the wanted rate, cut in time, and on to what a source wants of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from locomt.data.errors import MediaError, SilentError
from locomt.data.media.container import Crop, naming, stated_span
from locomt.data.media.pyav import MediaFile, MediaFiles
from locomt.data.media.samples import Loudness, resampled
from locomt.data.media.sound_time import TIMED, Clock, formats, stated_end
from locomt.data.media.spectrogram import kaldi_filter_bank, log_mel

if TYPE_CHECKING:
    from jaxtyping import Float

    from locomt.data.shards.reader import StoredPart
    from locomt.data.sources import AudioSource

LONGEST = 6
"""Hours of sound that are held in memory. A few kilobytes can claim to be far more."""


class Sound(NamedTuple):
    """The sound of a file.

    Attributes:
        samples: one channel.
        begin: at what second of the container's clock it begins.
        silence: why nothing is heard of it; None where something is.
    """

    samples: Tensor
    begin: float
    silence: str | None = None


def read_audio(path: str | Path, rate: int) -> Float[Tensor, " samples"]:
    """Read a recording, or the sound of a clip: the mean of its channels, at `rate` samples a second.

    Full scale is [-1, 1]; filters may overshoot it by a little. The first sample is the first after those that the file
    says to skip, and silence stands where the times of its packets leave a hole.

    Raises:
        NoStreamError: there is no audio stream.
        MediaError: the file is missing, empty, truncated or no media file, its samples are not finite, they are of
            more than `LONGEST` hours, or more of it is missing than heard.
    """
    with MediaFiles() as files:
        return files.open(Path(path)).read_audio(rate).samples


def sound_of(file: MediaFile, rate: int, stream: int | None) -> Sound:
    """`read_audio` of an open file, and what else is known of its sound."""
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
    return Sound(torch.from_numpy(samples), start, loudness.silence)


def _too_long(path: Path) -> MediaError:
    return MediaError(path, f"expected at most {LONGEST} hours of sound, got more; cut it into pieces")


def span_of(file: MediaFile | StoredPart, rate: int, stream: int | None = None) -> tuple[float, float]:
    """From when to when a file lasts: as long as its sound where that is all it holds.

    Its packets and its header count what codecs add at both ends.
    """
    if isinstance(file, MediaFile) and all(found.type == "audio" for found in file.streams):
        sound = file.read_audio(rate, stream)
        return sound.begin, sound.begin + len(sound.samples) / rate
    return file.span


def cut(samples: Float[Tensor, " samples"], start: float, rate: int, crop: Crop) -> Float[Tensor, " part"]:
    """The samples within a crop, up to their end, with silence before they begin; `start` is when they do.

    Where they have ended before the crop, all of it is silence.
    """
    if math.isinf(crop.begin):
        return samples
    first, last = (round((time - start) * rate) for time in (crop.begin, crop.end))
    last = max(last, first + 1)
    if first >= len(samples):
        return samples.new_zeros(last - first)
    silence = samples.new_zeros(min(max(0, -first), last - first))
    return torch.cat([silence, samples[max(0, first) : max(0, last)]])


def _decoded(file: MediaFile, stream: int | None) -> Iterator[Any]:
    context: Any = None
    for packet in file.packets("audio", stream):
        if context is None:
            context = packet.stream.codec_context
        yield from packet.decode()
    if context is not None:
        yield from context.decode(None)


def load_spectrograms(
    file: MediaFile | StoredPart, source: AudioSource, crops: Sequence[Crop | None]
) -> list[Float[Tensor, "frames mels"]]:
    """What `AudioSource.load_crops` promises."""
    sound = _heard(file, source)  # a silent stretch of a recording that is not silent says something
    parts = (
        _middle(file, sound.samples, source) if crop is None else cut(sound.samples, sound.begin, source.rate, crop)
        for crop in crops
    )
    return [_normalised(file, part, source) for part in parts]


def load_first(file: MediaFile | StoredPart, source: AudioSource, seconds: float) -> Float[Tensor, "frames mels"]:
    """What `AudioSource.load_first` promises; silence before a sound that begins later than the file's pictures."""
    sound = _heard(file, source)
    begin = source.span(file)[0]
    part = cut(sound.samples, sound.begin, source.rate, Crop(begin, begin + seconds, (0.0, 1.0)))
    return _normalised(file, part, source)


def _heard(file: MediaFile | StoredPart, source: AudioSource) -> Sound:
    sound = file.read_audio(source.rate, source.stream)
    if sound.silence:
        raise SilentError(str(file), sound.silence)
    return sound


def _middle(file: MediaFile | StoredPart, samples: Tensor, source: AudioSource) -> Tensor:
    most = round(source.seconds * source.rate)
    start = max(0, (len(samples) - most) // 2)
    middle = samples[start : start + most]
    if not middle.any():
        raise SilentError(str(file), f"all-zero audio in the middle {source.seconds:g} s")
    return middle


def _normalised(file: MediaFile | StoredPart, samples: Tensor, source: AudioSource) -> Tensor:
    spectrum = kaldi_filter_bank if source.filterbank == "kaldi" else log_mel
    spectrogram = spectrum(samples, rate=source.rate, mels=source.mels, window=source.window, hop=source.hop)
    if not spectrogram.isfinite().all():
        raise MediaError(str(file), f"expected sound of full scale 1, got samples up to {samples.abs().max():.2g}")
    return (spectrogram[: source.max_steps] - source.mean) / source.std
