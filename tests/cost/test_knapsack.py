"""The exact choice of views, against trying everything."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locomt.cost.knapsack import BudgetError, choose


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_nothing_within_the_limit_is_better(places: int, views: int, seed: int, tightness: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(places, views)).round(2)
    costs = rng.integers(0, 10**8, size=(places, views)).tolist()
    least, most = sum(map(min, costs)), sum(map(max, costs))
    limit = least + int(tightness * (most - least))
    found = choose(values, costs, limit)

    def worth(choice: Sequence[int]) -> float:
        return sum(values[place, view] for place, view in enumerate(choice))

    def cost(choice: Sequence[int]) -> int:
        return sum(costs[place][view] for place, view in enumerate(choice))

    assert cost(found) <= limit
    best = max(worth(choice) for choice in product(range(views), repeat=places) if cost(choice) <= limit)
    assert worth(found) == pytest.approx(best, abs=1e-9)


def test_a_limit_that_just_fits_is_kept_and_one_below_the_cheapest_is_refused() -> None:
    values = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 3.0]])
    assert choose(values, [[1, 10]] * 3, 12) == (0, 0, 1)
    assert choose(values, [[1, 10]] * 3, 11.5) == (0, 0, 0)
    assert choose(values, [[1, 2], [1, 10], [1, 11]], 11.5) == (1, 0, 0)
    with pytest.raises(BudgetError, match="expected a budget of 3 or more for 3 heads, got 2"):
        choose(values, [[1, 10]] * 3, 2)
