"""Spectrograms as `locomt.data.media.spectrogram` makes them, which says what they are, in NumPy alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

FLOOR, LOWEST, PREEMPHASIS = 2.0**-23, 20.0, 0.97


def _mel(hertz: Any) -> Any:
    return 2595 * np.log10(1 + hertz / 700)


def _hertz(mel: Any) -> Any:
    return 700 * (10 ** (mel / 2595) - 1)


def _triangles(bins: Array, edges: Array) -> Array:
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins[:, None] - low) / (centre - low), (high - bins[:, None]) / (high - centre)
    found: Array = np.maximum(np.minimum(rising, falling), 0).astype(np.float32)
    return found


@lru_cache(maxsize=8)
def _filters(rate: int, size: int, mels: int, *, kaldi: bool) -> Array:
    bins = np.linspace(0, rate / 2, size // 2 + 1)
    edges = np.linspace(_mel(LOWEST if kaldi else 0.0), _mel(rate / 2), mels + 2)
    return _triangles(_mel(bins), edges) if kaldi else _triangles(bins, _hertz(edges))


@lru_cache(maxsize=8)
def _size(rate: int, window: int, mels: int) -> int:
    size = 1 << (window - 1).bit_length()
    while not _filters(rate, size, mels, kaldi=False).any(axis=0).all():
        size *= 2
    return size


def _hann(window: int, *, periodic: bool) -> Array:
    turns = np.arange(window) / (window if periodic else max(1, window - 1))
    return (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32) if window > 1 else np.ones(1, np.float32)


def _frames(samples: Array, size: int, hop: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]


def _log_bands(frames: Array, size: int, filters: Array) -> Array:
    spectrum = np.fft.rfft(frames, size).astype(np.complex64)
    power = spectrum.real**2 + spectrum.imag**2
    found: Array = np.log(np.maximum(power @ filters, np.float32(FLOOR)))
    return found


def log_mel(samples: Array, *, rate: int, mels: int, window: int, hop: int) -> Array:
    """`[frames, mels]`; arguments as for `locomt.data.log_mel`."""
    size = _size(rate, window, mels)
    weights = np.zeros(size, np.float32)
    weights[(size - window) // 2 :][:window] = _hann(window, periodic=True)
    frames = _frames(np.pad(samples, size // 2), size, hop)[: max(1, -(-len(samples) // hop))]
    return _log_bands(frames * weights, size, _filters(rate, size, mels, kaldi=False))


def kaldi_filter_bank(samples: Array, *, rate: int, mels: int, window: int, hop: int) -> Array:
    """`[frames, mels]`; arguments as for `locomt.data.kaldi_filter_bank`."""
    frames = _frames(np.pad(samples, (0, max(0, window - len(samples)))), window, hop)
    frames = frames - frames.mean(axis=1, keepdims=True, dtype=np.float32)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    weighted = (frames - np.float32(PREEMPHASIS) * before) * _hann(window, periodic=False)
    size = 1 << (window - 1).bit_length()
    return _log_bands(weighted, size, _filters(rate, size, mels, kaldi=True))
