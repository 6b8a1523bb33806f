"""From decoded frames of any format to one channel of float32 at the wanted rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from locomt.data.errors import MediaError

PIECE = 2**18
"""Samples that are mixed and resampled together; with frames of 1,024 the calls would take longer than the work."""
STRETCH = 100
"""How many times its own rate a recording may be resampled to: a few kilobytes can claim to last for years."""
FAINT = 2.0**-23
"""How far apart the lowest and the highest sample of silence may be: a step of 24 bits."""
CANCELLED = 1e-5
"""The share of the channels' power that is left in their mean where they cancel: -50 dB. What 16 bits round off two
channels of opposite phase is below it, and the mean of no ordinary recording is."""

DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
"""FFmpeg's types of samples, without the `p` of those whose channels are planes -> NumPy's."""


class Loudness:
    """What is added up of a recording while it is mixed, to tell whether anything of it is heard."""

    def __init__(self) -> None:
        self.lowest, self.highest = np.inf, -np.inf
        self.power_of_mean = self.power_of_channels = 0.0
        self.channels = 0

    def add(self, channels: np.ndarray[Any, Any], scale: float, mean: np.ndarray[Any, Any]) -> None:
        """Some more `[channels, samples]`, full scale being `scale`, and their mean, full scale being 1."""
        if not mean.size:
            return
        self.lowest, self.highest = min(self.lowest, float(mean.min())), max(self.highest, float(mean.max()))
        if len(channels) > 1:
            self.channels = max(self.channels, len(channels))
            exact = np.float32 if channels.itemsize == 2 else np.float64
            power = np.einsum("cs,cs->", channels, channels, dtype=exact, casting="unsafe")
            self.power_of_channels += float(power) / scale**2 / len(channels)
            self.power_of_mean += float(np.dot(mean, mean))

    @property
    def silence(self) -> str | None:
        """Why nothing is heard; None where something is."""
        if self.power_of_mean < CANCELLED * self.power_of_channels:
            return (
                f"its {self.channels} channels cancel: they are of opposite phase, and next to nothing is left of "
                "their mean; turn one of them round"
            )
        if self.highest - self.lowest > FAINT:
            return None
        if max(abs(self.highest), abs(self.lowest)) <= FAINT:
            return "all-zero audio throughout"
        return f"audio that is {self.highest:.3g} throughout: nothing sounds"


def resampled(
    path: Path, frames: Iterator[tuple[int, Any]], rate: int, loudness: Loudness
) -> Iterator[np.ndarray[Any, Any] | int]:
    """One channel of float32 from frames of any format, which may change on the way; a number stands for zeros.

    The channels are averaged here: FFmpeg's own downmix has another gain for floating-point than for integer samples.

    Args:
        path: of the file, for the errors.
        frames: each after the samples that are missing before it.
        rate: samples a second of what comes out.
        loudness: is told what was mixed.
    """
    resampler, shape = None, None
    for missing, form, piece in _in_pieces(frames):
        if shape != form:
            if resampler is not None:
                yield from _arrays(resampler.resample(None))
            if form.rate * STRETCH < rate:
                raise MediaError(path, f"expected {-(-rate // STRETCH)} samples a second or more, got {form.rate}")
            shape, resampler = form, av.AudioResampler("fltp", "mono", rate)
        assert resampler is not None
        if missing:
            # Around the silence the resampler hears zeros. The whole seconds between are alike at both rates, and take
            # no memory: a few kilobytes can leave a hole of hours.
            seconds = max(0, missing // form.rate - 1)
            for count in _split(missing - seconds * form.rate):
                yield from _arrays(resampler.resample(_frame(np.zeros(count, np.float32), form.rate)))
            yield seconds * rate
        yield from _arrays(resampler.resample(_frame(_mixed(piece, form, loudness), form.rate)))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _split(count: int) -> Iterator[int]:
    for begin in range(0, count, PIECE):
        yield min(PIECE, count - begin)


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


def _in_pieces(frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, _Form, list[Any]]]:
    """Frames of the same form, about `PIECE` samples together, with none missing between them."""
    before, form, piece, count = 0, None, [], 0
    for missing, frame in chain.from_iterable(_within_reach(*entry) for entry in frames):
        found = _form(frame)
        if form is not None and (found != form or missing or count >= PIECE):
            yield before, form, piece
            before, piece, count = missing, [], 0
        form = found
        piece.append(frame)
        count += frame.samples
    if form is not None:
        yield before, form, piece


def joined_plane(frames: Sequence[Any], plane: int) -> np.ndarray[Any, Any]:
    """A plane of frames of the same form, one after the other; `to_ndarray` of each takes ten times as long."""
    dtype = np.dtype(DTYPES[frames[0].format.name.removesuffix("p")])
    per_sample = 1 if frames[0].format.is_planar else frames[0].layout.nb_channels
    return np.concatenate([np.frombuffer(f.planes[plane], dtype, f.samples * per_sample) for f in frames])


def _within_reach(missing: int, frame: Any) -> list[tuple[int, Any]]:
    """The frame, of many channels as packed samples: PyAV finds 8 planes, and crashes where it looks for more."""
    if not frame.format.is_planar or frame.layout.nb_channels <= 8:
        return [(missing, frame)]
    frame.pts = None
    packing = av.AudioResampler(frame.format.packed.name, frame.layout.name, frame.sample_rate)
    packed = [*packing.resample(frame), *packing.resample(None)]
    return [(0 if place else missing, part) for place, part in enumerate(packed)]


def _mixed(frames: list[Any], form: _Form, loudness: Loudness) -> np.ndarray[Any, Any]:
    """The mean of the channels, full scale being [-1, 1]."""
    samples = np.stack([joined_plane(frames, plane) for plane in range(form.channels if form.planar else 1)])
    if not form.planar:
        samples = samples.reshape(-1, form.channels).T
    scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.itemsize - 1)
    if samples.dtype == np.uint8:
        samples = samples.astype(np.int16) - 2**7
    mean = samples.mean(axis=0, dtype=np.float32 if samples.itemsize < 4 or samples.dtype == np.float32 else np.float64)
    mixed = np.asarray(mean / scale, np.float32)
    loudness.add(samples, scale, mixed)
    return mixed


def _frame(samples: np.ndarray[Any, Any], rate: int) -> Any:
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate = rate
    return frame


def _arrays(frames: list[Any]) -> Iterator[np.ndarray[Any, Any]]:
    for frame in frames:
        yield frame.to_ndarray()[0]
