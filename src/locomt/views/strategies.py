"""Which heads of a table are cross: the strategies, all of which spend the same number of heads."""

from __future__ import annotations

import random
from collections.abc import Sequence

STRATEGIES = ("spread", "bottleneck", "alternating", "random", "ascending", "descending")


def cross_heads(name: str, layers: int, heads: int, total: int, seed: int) -> list[list[bool]]:
    """For every layer and head whether it is cross, `total` of them in all, by one of `STRATEGIES`."""
    if name == "random":
        return _random_heads(layers, heads, total, seed)
    counts = _cross_counts(name, layers, heads, total)
    return [[head >= heads - count for head in range(heads)] for count in counts]


def _random_heads(layers: int, heads: int, total: int, seed: int) -> list[list[bool]]:
    chosen = set(random.Random(seed).sample(range(layers * heads), total))
    return [[layer * heads + head in chosen for head in range(heads)] for layer in range(layers)]


def _cross_counts(name: str, layers: int, heads: int, total: int) -> list[int]:
    """How many heads of each layer are cross."""
    if name == "descending":
        return _cross_counts("ascending", layers, heads, total)[::-1]
    if name in ("spread", "ascending"):
        weights = [1.0] * layers if name == "spread" or layers == 1 else _ramp(layers, total / (layers * heads))
        return _apportion(weights, heads, total)
    band = -(-total // heads)  # how many layers it takes to hold all cross heads
    if name == "bottleneck":
        start = (layers - band) // 2
        order = list(range(start, start + band))
    else:  # alternating: the cross layers lie as evenly as they can, the topmost layer is one of them
        order = [((n + 1) * layers) // band - 1 for n in range(band)][::-1]
    counts = [0] * layers
    for n, layer in enumerate(order):
        counts[layer] = min(heads, total - n * heads)
    return counts


def _ramp(layers: int, cross: float) -> list[float]:
    """A straight line from the lowest to the highest layer with mean `cross`, as far as [0, 1] allows."""
    steps = [layer / (layers - 1) for layer in range(layers)]
    if cross <= 0.5:
        return [2 * cross * step for step in steps]
    return [1 - 2 * (1 - cross) * (1 - step) for step in steps]


def _apportion(weights: Sequence[float], heads: int, total: int) -> list[int]:
    """Whole numbers in proportion to `weights` that add up to `total`, none above `heads`."""
    scale = sum(weights) or 1.0
    shares = [total * weight / scale for weight in weights]
    counts = [min(heads, int(share)) for share in shares]
    # What rounding left over goes to the largest remainders, upper layers first among equals.
    order = sorted(range(len(weights)), key=lambda n: (counts[n] - shares[n], -n))
    while (left := total - sum(counts)) > 0:
        for n in [n for n in order if counts[n] < heads][:left]:
            counts[n] += 1
    return counts
