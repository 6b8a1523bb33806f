"""Pictures scaled as torch scales bytes (bilinear, antialiased), to the bit and without torch.

Each axis in turn, across and then down: weights of a triangle as wide as what a pixel stands for, rounded to 16 bits
where Pillow has more.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

MOST_BITS = 22
"""After the point, of weights that are all small."""


def scaled(image: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """A picture `[height, width, channels]` of bytes as `[size, size, channels]`."""
    across = _axis(image.swapaxes(0, 1), size).swapaxes(0, 1)
    return _axis(across, size)


def _axis(image: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    if image.shape[0] == size:
        return image
    places, weights, bits = _weights(image.shape[0], size)
    total = np.full((size, *image.shape[1:]), 1 << bits - 1, np.int32)
    for place, weight in zip(places.T, weights.T, strict=True):
        total += weight[:, None, None] * image[place]
    found: np.ndarray[Any, Any] = np.clip(total >> bits, 0, 255).astype(np.uint8)
    return found


@lru_cache(maxsize=32)
def _weights(old: int, new: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """For each new pixel the old ones that it is made of and what each weighs, and the bits after the point."""
    scale = old / new
    reach = max(scale, 1.0)
    centres = scale * (np.arange(new) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), old)
    places = first[:, None] + np.arange((last - first).max())
    weights = np.maximum(1 - np.abs((places - centres[:, None] + 0.5) / reach), 0) * (places < last[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    bits = next((n for n in range(MOST_BITS) if int(0.5 + weights.max() * 2 ** (n + 1)) >= 2**15), MOST_BITS)
    return np.minimum(places, old - 1), (weights * 2**bits + 0.5).astype(np.int32), bits
