"""Sound: from any media file to one channel at the wanted rate, and on to its log-mel spectrogram in plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from torch import Tensor

from locomt.data.errors import MediaError
from locomt.data.media import Crop, opened, packets_of, stream_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from locomt.data.shards.reader import StoredPart
    from locomt.data.sources import AudioSource

FLOOR = 2.0**-23
"""The least power that a logarithm is taken of; Kaldi's, on which the usual AudioSet statistics rest."""


def read_audio(path: str | Path, rate: int) -> Float[Tensor, " samples"]:
    """Read a recording, or the sound of a clip: the mean of its channels, at `rate` samples a second.

    Full scale is [-1, 1]; filters may overshoot it by a little.

    Raises:
        NoStreamError: there is no audio stream.
        MediaError: the file is missing, empty, truncated or no media file, or its samples are not finite.
    """
    return read_timed_audio(path, rate)[0]


def read_timed_audio(path: str | Path, rate: int) -> tuple[Float[Tensor, " samples"], float]:
    """What `read_audio` gives, and at what second of the container's clock it begins."""
    path = Path(path)
    with opened(path) as container:
        frames = _decoded(path, container)
        first = next(frames, None)
        start = (first.time or 0.0) if first is not None else 0.0
        parts = list(_resampled(chain(() if first is None else (first,), frames), rate))
    if not parts:
        raise MediaError(path, "the audio stream holds no samples")
    samples = torch.from_numpy(np.concatenate(parts))
    if not samples.isfinite().all():
        raise MediaError(path, "expected finite samples, got NaN or an infinite number")
    return samples, start


def cut(samples: Float[Tensor, " samples"], start: float, rate: int, crop: Crop) -> Float[Tensor, " shorter"]:
    """The samples within a crop, or the nearest as long as it where there are none; `start` is when they begin."""
    count = len(samples)
    first, last = (round(min(max((time - start) * rate, 0), count)) for time in (crop.begin, crop.end))
    if first == count or last == 0:
        length = max(1, round((crop.end - crop.begin) * rate))
        return samples[-length:] if last else samples[:length]
    return samples[first : max(last, first + 1)]


def _decoded(path: Path, container: Any) -> Iterator[Any]:
    stream = stream_of(path, container, "audio")
    for packet in packets_of(path, container, stream):
        yield from packet.decode()
    yield from stream.codec_context.decode(None)


def _resampled(frames: Iterator[Any], rate: int) -> Iterator[np.ndarray[Any, Any]]:
    """One channel of float32 from frames of any format, which may change on the way.

    The channels are averaged here: FFmpeg's own downmix has another gain for floating-point than for integer samples.
    """
    resampler, shape = None, None
    for frame in frames:
        frame.pts = None  # gaps in time are not to be filled
        if shape != (frame.format.name, frame.layout.name, frame.sample_rate):
            if resampler is not None:
                yield from _mixed(resampler.resample(None))
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            resampler = av.AudioResampler("fltp", frame.layout.name, rate)
        assert resampler is not None
        yield from _mixed(resampler.resample(frame))
    if resampler is not None:
        yield from _mixed(resampler.resample(None))


def _mixed(frames: list[Any]) -> Iterator[np.ndarray[Any, Any]]:
    for frame in frames:
        yield frame.to_ndarray().mean(axis=0, dtype=np.float32)


def _to_mel(hertz: Tensor) -> Tensor:
    return 2595 * torch.log10(1 + hertz / 700)  # HTK


def _to_hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)


@lru_cache(maxsize=8)
def mel_filters(rate: int, fft_size: int, mels: int) -> Float[Tensor, "bins mels"]:
    """Triangles of height 1, evenly spaced on the HTK mel scale from 0 Hz to half of `rate`."""
    bins = torch.linspace(0, rate / 2, fft_size // 2 + 1, dtype=torch.float64)[:, None]
    top = _to_mel(torch.tensor(rate / 2, dtype=torch.float64)).item()
    edges = _to_hertz(torch.linspace(0, top, mels + 2, dtype=torch.float64))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


@lru_cache(maxsize=8)
def fft_size(rate: int, window: int, mels: int) -> int:
    """The smallest power of two that holds the window and leaves no mel band without a frequency bin.

    With 128 bands, an FFT of the window's own length would leave some of the lowest bands always silent.
    """
    size = 1 << (window - 1).bit_length()
    while not mel_filters(rate, size, mels).any(dim=0).all():
        size *= 2
    return size


def log_mel(
    samples: Float[Tensor, " samples"], *, rate: int, mels: int, window: int, hop: int
) -> Float[Tensor, "frames mels"]:
    """The natural logarithm of the power in each mel band, with a periodic Hann window.

    Frame t is centred on sample `t * hop`; there are as many as have their centre in the sound, one at least. Beyond
    its ends there is silence.

    Args:
        samples: one channel.
        rate: samples a second.
        mels: bands.
        window: samples of the window.
        hop: samples from a frame to the next.
    """
    size = fft_size(rate, window, mels)
    spectrum = torch.stft(
        samples, size, hop, window, torch.hann_window(window), center=True, pad_mode="constant", return_complex=True
    )
    frames = max(1, -(-len(samples) // hop))
    power = spectrum[:, :frames].abs().square()
    return (power.T @ mel_filters(rate, size, mels)).clamp(min=FLOOR).log()


def load_spectrograms(
    file: Path | StoredPart, source: AudioSource, crops: Sequence[Crop | None]
) -> list[Float[Tensor, "frames mels"]]:
    """What `AudioSource.load_crops` promises."""
    samples, begin = read_timed_audio(file, source.rate) if isinstance(file, Path) else (file.read_audio(), file.begin)
    silent = not samples.any()  # a silent stretch of a recording that is not silent says something
    parts = (
        _middle(file, samples, source) if crop is None or silent else cut(samples, begin, source.rate, crop)
        for crop in crops
    )
    return [_normalised(part, source) for part in parts]


def _middle(file: Path | StoredPart, samples: Tensor, source: AudioSource) -> Tensor:
    most = round(source.seconds * source.rate)
    start = max(0, (len(samples) - most) // 2)
    middle = samples[start : start + most]
    if not middle.any():
        where = f"in the middle {source.seconds:g} s" if samples.any() else "throughout"
        raise MediaError(str(file), f"all-zero audio {where}")
    return middle


def _normalised(samples: Tensor, source: AudioSource) -> Tensor:
    spectrogram = log_mel(samples, rate=source.rate, mels=source.mels, window=source.window, hop=source.hop)
    return (spectrogram[: source.max_steps] - source.mean) / source.std
