"""Log-mel spectrograms in plain torch: ours, and the filter banks of Kaldi on which AST was trained."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

if TYPE_CHECKING:
    from jaxtyping import Float

FLOOR = 2.0**-23
"""The least power that a logarithm is taken of; Kaldi's, on which the usual AudioSet statistics rest."""
LOWEST, PREEMPHASIS = 20.0, 0.97
"""Kaldi's: where its lowest band begins, in Hz, and what share of each sample is taken off the next."""


def _to_mel(hertz: Tensor) -> Tensor:
    return 2595 * torch.log10(1 + hertz / 700)  # HTK


def _to_hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)


@lru_cache(maxsize=8)
def mel_filters(rate: int, fft_size: int, mels: int) -> Float[Tensor, "bins mels"]:
    """Triangles of height 1, evenly spaced on the HTK mel scale from 0 Hz to half of `rate`."""
    bins, edges = _bins_and_edges(rate, fft_size, mels, 0.0)
    return _triangles(bins, _to_hertz(edges))


def _bins_and_edges(rate: int, fft_size: int, mels: int, lowest: float) -> tuple[Tensor, Tensor]:
    """The frequencies of an FFT in Hz, and the edges in mel of bands from `lowest` Hz to half of `rate`."""
    bins = torch.linspace(0, rate / 2, fft_size // 2 + 1, dtype=torch.float64)
    low, high = _to_mel(torch.tensor([lowest, rate / 2], dtype=torch.float64)).tolist()
    return bins, torch.linspace(low, high, mels + 2, dtype=torch.float64)


def _triangles(bins: Tensor, edges: Tensor) -> Tensor:
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins[:, None] - low) / (centre - low), (high - bins[:, None]) / (high - centre)
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
    real, imaginary = torch.view_as_real(spectrum[:, :frames]).unbind(-1)
    power = real.square() + imaginary.square()  # a third of the time of abs(), which takes the root of it
    return (power.T @ mel_filters(rate, size, mels)).clamp(min=FLOOR).log()


@lru_cache(maxsize=8)
def _kaldi_filters(rate: int, fft_size: int, mels: int) -> Float[Tensor, "bins mels"]:
    """Triangles over mel, not over Hz as those of `mel_filters`; the narrowest may lie between two bins."""
    bins, edges = _bins_and_edges(rate, fft_size, mels, LOWEST)
    return _triangles(_to_mel(bins), edges)


def kaldi_filter_bank(
    samples: Float[Tensor, " samples"], *, rate: int, mels: int, window: int, hop: int
) -> Float[Tensor, "frames mels"]:
    """What Kaldi's `compute-fbank-feats` gives without dither, and the feature extractor of AST without normalising.

    Frame t begins with sample `t * hop`, and there are as many as are whole, one at least. Of each its mean is taken,
    then it is pre-emphasised, and weighted with a Hann window that is symmetric. Arguments as for `log_mel`.
    """
    frames = pad(samples, (0, max(0, window - len(samples)))).unfold(0, window, hop)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    weighted = (frames - PREEMPHASIS * before) * torch.hann_window(window, periodic=False)
    size = 1 << (window - 1).bit_length()
    power: Tensor = torch.fft.rfft(weighted, size).abs().square()
    return (power @ _kaldi_filters(rate, size, mels)).clamp(min=FLOOR).log()
