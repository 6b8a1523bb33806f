"""Sound: from any media file to one channel at the wanted rate, cut in time, and on to what a source wants of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import numpy as np
import torch
from torch import Tensor

from locomt.data.errors import MediaError
from locomt.data.media import Crop, naming, stated_span
from locomt.data.media_file import MediaFile, MediaFiles
from locomt.data.spectrogram import kaldi_filter_bank, log_mel

if TYPE_CHECKING:
    from jaxtyping import Float

    from locomt.data.shards.reader import StoredPart
    from locomt.data.sources import AudioSource

PIECE = 2**18
"""Samples that are mixed and resampled together; with frames of 1,024 the calls would take longer than the work."""
LONGEST = 6
"""Hours of sound that are held in memory. A few kilobytes can claim to be far more."""
STRETCH = 100
"""How many times its own rate a recording may be resampled to, for the same reason."""

DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
"""FFmpeg's types of samples, without the `p` of those whose channels are planes -> NumPy's."""


def read_audio(path: str | Path, rate: int) -> Float[Tensor, " samples"]:
    """Read a recording, or the sound of a clip: the mean of its channels, at `rate` samples a second.

    Full scale is [-1, 1]; filters may overshoot it by a little.

    Raises:
        NoStreamError: there is no audio stream.
        MediaError: the file is missing, empty, truncated or no media file, its samples are not finite, or they are
            of more than `LONGEST` hours.
    """
    with MediaFiles() as files:
        return files.open(Path(path)).read_audio(rate)[0]


def sound_of(file: MediaFile, rate: int, stream: int | None) -> tuple[Float[Tensor, " samples"], float]:
    """`read_audio` of an open file, and at what second of the container's clock it begins."""
    begin, end = stated_span(file.container) or (0.0, 0.0)
    if end - begin > LONGEST * 3600:
        raise _too_long(file.path)
    with naming(file.path):
        frames = _decoded(file, stream)
        first = next(frames, None)
        start = (first.time or 0.0) if first is not None else 0.0
        parts, room = [], LONGEST * 3600 * rate
        for part in _resampled(file.path, chain(() if first is None else (first,), frames), rate):
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise _too_long(file.path)
    if not parts:
        raise MediaError(file.path, "the audio stream holds no samples")
    samples = np.concatenate(parts)
    if not np.isfinite(samples).all():
        raise MediaError(file.path, "expected finite samples, got NaN or an infinite number")
    return torch.from_numpy(samples), start


def _too_long(path: Path) -> MediaError:
    return MediaError(path, f"expected at most {LONGEST} hours of sound, got more; cut it into pieces")


def cut(samples: Float[Tensor, " samples"], start: float, rate: int, crop: Crop) -> Float[Tensor, " shorter"]:
    """The samples within a crop, or the nearest as long as it where there are none; `start` is when they begin."""
    count = len(samples)
    first, last = (round(min(max((time - start) * rate, 0), count)) for time in (crop.begin, crop.end))
    if first == count or last == 0:
        length = max(1, round((crop.end - crop.begin) * rate))
        return samples[-length:] if last else samples[:length]
    return samples[first : max(last, first + 1)]


def _decoded(file: MediaFile, stream: int | None) -> Iterator[Any]:
    context: Any = None
    for packet in file.packets("audio", stream):
        if context is None:
            context = packet.stream.codec_context
        yield from packet.decode()
    if context is not None:
        yield from context.decode(None)


def _resampled(path: Path, frames: Iterator[Any], rate: int) -> Iterator[np.ndarray[Any, Any]]:
    """One channel of float32 from frames of any format, which may change on the way.

    The channels are averaged here: FFmpeg's own downmix has another gain for floating-point than for integer samples.
    """
    resampler, shape = None, None
    for form, piece in _in_pieces(frames):
        if shape != form:
            if resampler is not None:
                yield from _arrays(resampler.resample(None))
            if form.rate * STRETCH < rate:
                raise MediaError(path, f"expected {-(-rate // STRETCH)} samples a second or more, got {form.rate}")
            shape, resampler = form, av.AudioResampler("fltp", "mono", rate)
        assert resampler is not None
        mono = av.AudioFrame.from_ndarray(_mixed(piece, form)[None], format="fltp", layout="mono")
        mono.sample_rate = form.rate
        yield from _arrays(resampler.resample(mono))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


class _Form(NamedTuple):
    """What the samples of a frame are: FFmpeg's name of their type, and whether each channel is by itself."""

    name: str
    planar: bool
    channels: int
    layout: str
    rate: int


def _form(frame: Any) -> _Form:
    layout = frame.layout
    return _Form(frame.format.name, frame.format.is_planar, layout.nb_channels, layout.name, frame.sample_rate)


def _in_pieces(frames: Iterator[Any]) -> Iterator[tuple[_Form, list[Any]]]:
    """Frames of the same form, about `PIECE` samples together."""
    form, piece, count = None, [], 0
    for frame in chain.from_iterable(map(_within_reach, frames)):
        found = _form(frame)
        if form is not None and (found != form or count >= PIECE):
            yield form, piece
            piece, count = [], 0
        form = found
        piece.append(frame)
        count += frame.samples
    if form is not None:
        yield form, piece


def joined_plane(frames: Sequence[Any], plane: int) -> np.ndarray[Any, Any]:
    """A plane of frames of the same form, one after the other; `to_ndarray` of each takes ten times as long."""
    dtype = np.dtype(DTYPES[frames[0].format.name.removesuffix("p")])
    per_sample = 1 if frames[0].format.is_planar else frames[0].layout.nb_channels
    return np.concatenate([np.frombuffer(f.planes[plane], dtype, f.samples * per_sample) for f in frames])


def _within_reach(frame: Any) -> list[Any]:
    """The frame, of many channels as packed samples: PyAV finds 8 planes, and crashes where it looks for more."""
    if not frame.format.is_planar or frame.layout.nb_channels <= 8:
        return [frame]
    frame.pts = None
    packing = av.AudioResampler(frame.format.packed.name, frame.layout.name, frame.sample_rate)
    return [*packing.resample(frame), *packing.resample(None)]


def _mixed(frames: list[Any], form: _Form) -> np.ndarray[Any, Any]:
    """The mean of the channels, full scale being [-1, 1]."""
    samples = np.stack([joined_plane(frames, plane) for plane in range(form.channels if form.planar else 1)])
    if not form.planar:
        samples = samples.reshape(-1, form.channels).T
    mean = samples.mean(axis=0, dtype=np.float32 if samples.itemsize < 4 or samples.dtype == np.float32 else np.float64)
    if samples.dtype == np.uint8:
        mean = mean / 2**7 - 1
    elif samples.dtype.kind == "i":
        mean = mean / 2 ** (8 * samples.itemsize - 1)
    return np.asarray(mean, np.float32)


def _arrays(frames: list[Any]) -> Iterator[np.ndarray[Any, Any]]:
    for frame in frames:
        yield frame.to_ndarray()[0]


def load_spectrograms(
    file: MediaFile | StoredPart, source: AudioSource, crops: Sequence[Crop | None]
) -> list[Float[Tensor, "frames mels"]]:
    """What `AudioSource.load_crops` promises."""
    samples, begin = file.read_audio(source.rate, source.stream)
    silent = not samples.any()  # a silent stretch of a recording that is not silent says something
    parts = (
        _middle(file, samples, source) if crop is None or silent else cut(samples, begin, source.rate, crop)
        for crop in crops
    )
    return [_normalised(file, part, source) for part in parts]


def load_first(file: MediaFile | StoredPart, source: AudioSource, seconds: float) -> Float[Tensor, "frames mels"]:
    """What `AudioSource.load_first` promises; silence before a sound that begins later than the file's pictures."""
    samples, begin = file.read_audio(source.rate, source.stream)
    if not samples.any():
        raise MediaError(str(file), "all-zero audio throughout")
    most, late = round(seconds * source.rate), round((begin - file.span[0]) * source.rate)
    samples = torch.cat([samples.new_zeros(min(max(0, late), most)), samples[max(0, -late) :]])
    return _normalised(file, samples[:most], source)


def _middle(file: MediaFile | StoredPart, samples: Tensor, source: AudioSource) -> Tensor:
    most = round(source.seconds * source.rate)
    start = max(0, (len(samples) - most) // 2)
    middle = samples[start : start + most]
    if not middle.any():
        where = f"in the middle {source.seconds:g} s" if samples.any() else "throughout"
        raise MediaError(str(file), f"all-zero audio {where}")
    return middle


def _normalised(file: MediaFile | StoredPart, samples: Tensor, source: AudioSource) -> Tensor:
    spectrum = kaldi_filter_bank if source.filterbank == "kaldi" else log_mel
    spectrogram = spectrum(samples, rate=source.rate, mels=source.mels, window=source.window, hop=source.hop)
    if not spectrogram.isfinite().all():
        raise MediaError(str(file), f"expected sound of full scale 1, got samples up to {samples.abs().max():.2g}")
    return (spectrogram[: source.max_steps] - source.mean) / source.std
