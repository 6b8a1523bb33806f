"""Means, intervals and paired tests, against tables of Student's t and textbook sums."""

import math

import pytest

from locomt.studies.numbers import StatisticsError, difference, false_discovery_rates, mean_of


def test_a_mean_has_students_interval() -> None:
    mean = mean_of([1.0, 2.0, 3.0, 4.0, 5.0])
    # Standard deviation sqrt(2.5), and 2.776 is t of 4 degrees of freedom at 97.5 %.
    assert mean.value == 3
    assert mean.half == pytest.approx(2.7764451 * math.sqrt(2.5 / 5))
    assert (mean.low, mean.high) == (3 - mean.half, 3 + mean.half)


def test_a_single_seed_has_no_interval() -> None:
    assert mean_of([0.5]) == (0.5, None, 1)
    one = difference({0: 0.7, 1: 0.1}, {0: 0.5, 2: 0.9})
    assert (one.mean.value, one.mean.half, one.p, one.apart) == (pytest.approx(0.2), None, None, 0)


def test_runs_pair_by_their_seed() -> None:
    first = {0: 0.80, 1: 0.75, 2: 0.90, 7: 0.10}
    second = {2: 0.86, 1: 0.72, 0: 0.77}
    found = difference(first, second)
    own = [0.03, 0.03, 0.04]
    assert found.mean.value == pytest.approx(sum(own) / 3)
    t = (sum(own) / 3) / (0.0057735 / math.sqrt(3))
    # two degrees of freedom: p = 1 - t / sqrt(t^2 + 2)
    assert found.p == pytest.approx(1 - t / math.sqrt(t**2 + 2), rel=1e-4)
    assert (found.wins, found.losses, found.apart) == (3, 0, 1)
    assert difference(second, first).apart == -1


def test_differences_that_are_all_alike() -> None:
    assert difference({0: 0.5, 1: 0.5}, {0: 0.5, 1: 0.5}).p == 1
    assert difference({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.5}).p == 0


def test_many_comparisons_cost_significance() -> None:
    # Smallest first .01 * 4 / 1, .03 * 4 / 2, .04 * 4 / 3, .5 * 4 / 4; none above that of a larger p.
    assert false_discovery_rates([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert false_discovery_rates([0.02]) == [0.02]
    assert false_discovery_rates([]) == []


def test_what_cannot_be_compared() -> None:
    with pytest.raises(StatisticsError, match="got none"):
        mean_of([])
    with pytest.raises(StatisticsError, match="got none of the same seed"):
        difference({0: 1.0}, {1: 1.0})
