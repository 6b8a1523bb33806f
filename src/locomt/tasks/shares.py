"""Intervals of shares: they stay between 0 and 1, however few samples there are."""

from __future__ import annotations

import math
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)


def wilson(hits: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share of independent samples.

    It is Wilson's (JASA 1927): unlike the share plus and minus its standard error, it holds for few samples too, and
    is no point where all or none of them hit.

    Args:
        hits: how many of the samples.
        samples: above 0.
    """
    share, wide = hits / samples, Z * Z / samples
    middle = share + wide / 2
    half = Z * math.sqrt(share * (1 - share) / samples + wide / (4 * samples))
    return max(0.0, (middle - half) / (1 + wide)), min(1.0, (middle + half) / (1 + wide))


def within_bounds(low: float, high: float, *, share: bool) -> tuple[float, float]:
    """The ends of an error bar, cut where a share cannot be."""
    return (max(0.0, low), min(1.0, high)) if share else (low, high)
