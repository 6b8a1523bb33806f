"""Statistics of a few runs: means with confidence intervals, and differences paired by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LEVEL = 0.95


class StatisticsError(ValueError):
    """The numbers cannot be compared, or scipy is missing."""


class Mean(NamedTuple):
    """A mean over seeds.

    Attributes:
        value: the mean.
        half: half the width of its 95 % confidence interval by Student's t; None for a single seed.
        seeds: the number of seeds.
    """

    value: float
    half: float | None
    seeds: int

    @property
    def low(self) -> float:
        return self.value - (self.half or 0.0)

    @property
    def high(self) -> float:
        return self.value + (self.half or 0.0)


class Difference(NamedTuple):
    """The scores of one model less those of another, over the seeds that both have.

    Attributes:
        mean: the mean difference and its interval.
        p: of the two-sided paired t test; None for a single seed. It is 0 or 1 if all differences are equal.
        wins: the number of seeds in which the first model scores more.
        losses: the number of seeds in which it scores less.
    """

    mean: Mean
    p: float | None
    wins: int
    losses: int

    @property
    def apart(self) -> int:
        """1 if the interval lies above 0, -1 if it lies below, else 0."""
        if self.mean.half is None:
            return 0
        return (self.mean.low > 0) - (self.mean.high < 0)


def mean_of(values: Sequence[float]) -> Mean:
    """The mean and its 95 % confidence interval.

    Raises:
        StatisticsError: there are no values.
    """
    if not values:
        raise StatisticsError("expected one score or more, got none")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Mean(mean, None, 1)
    error = statistics.stdev(values) / math.sqrt(len(values))
    return Mean(mean, float(scipy_stats().t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error, len(values))


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """The first less the second, paired by seed.

    Raises:
        StatisticsError: they have no seed in common.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise StatisticsError("expected runs that pair by their seed, got none of the same seed")
    own = [first[seed] - second[seed] for seed in seeds]
    mean = mean_of(own)
    p = None
    if mean.half is not None:
        spread = statistics.stdev(own)
        p = float(scipy_stats().ttest_1samp(own, 0.0).pvalue) if spread else float(mean.value == 0)
    return Difference(mean, p, sum(d > 0 for d in own), sum(d < 0 for d in own))


def false_discovery_rates(p: Sequence[float]) -> list[float]:
    """Adjust p values to false discovery rates in [p, 1] (Benjamini & Hochberg 1995)."""
    return [float(rate) for rate in scipy_stats().false_discovery_control(p)] if p else []


def scipy_stats():  # type: ignore[no-untyped-def]
    """Import `scipy.stats`, which computes intervals and tests.

    Raises:
        StatisticsError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError:
        raise StatisticsError("intervals and paired tests need scipy: pip install 'locomt[experiments]'") from None
    return stats
