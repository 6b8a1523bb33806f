"""The best view for every head within a budget, exactly: a multiple-choice knapsack."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from numpy.typing import NDArray


class BudgetError(ValueError):
    """A budget that no choice of views keeps, or nothing to choose with."""


def need_solver() -> None:
    """To be told before a long training and not after it.

    Raises:
        BudgetError: scipy is not installed.
    """
    try:
        import_module("scipy.optimize")
    except ImportError:
        raise BudgetError("choosing views within a budget needs scipy: pip install 'locomt[search]'") from None


def choose(
    values: Float[NDArray[np.float64], "places views"], costs: Sequence[Sequence[float]], limit: float
) -> tuple[int, ...]:
    """One view for each place, of the largest sum of values whose sum of costs is within the limit.

    Solved as an integer program by HiGHS (`scipy.optimize.milp`) to proven optimality. Among equally good choices,
    which one comes out depends on the solver.

    Args:
        values: what each view is worth at each place; all finite.
        costs: of each view at each place, whatever is counted; at least 0.
        limit: in the unit of the costs.

    Returns:
        The number of the view chosen for each place.

    Raises:
        BudgetError: even the cheapest view in every place is above the limit, or scipy is not installed.
    """
    need_solver()
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    places, views = values.shape
    assert np.shape(costs) == values.shape
    assert np.isfinite(values).all()
    if (least := sum(map(min, costs))) > limit:
        raise BudgetError(f"expected a budget of {least:g} or more for {places} heads, got {limit:g}")
    variables = places * views
    rows = np.repeat(np.arange(places), views)
    one_each = csr_array((np.ones(variables), (rows, np.arange(variables))), shape=(places, variables))
    # In units of the limit: score pairs by the hundred million are beyond what a solver's tolerances are made for.
    total = csr_array(np.asarray(costs, dtype=float).ravel()[None] / max(limit, 1e-300))
    solved = milp(
        -values.ravel(),
        integrality=np.ones(variables),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(total, -np.inf, 1)],
        options={"mip_rel_gap": 0.0},
    )
    assert solved.success, solved.message
    chosen = solved.x.reshape(values.shape).argmax(axis=1)
    return tuple(int(view) for view in _within(chosen, values, costs, limit))


def _within(
    chosen: NDArray[np.int64], values: NDArray[np.float64], costs: Sequence[Sequence[float]], limit: float
) -> NDArray[np.int64]:
    """The choice, made cheaper where the solver's tolerance let it pass the limit by less than a millionth."""
    price, places = np.asarray(costs), np.arange(len(chosen))
    while price[places, chosen].sum() > limit:
        worth = values[places, chosen][:, None] - values
        saving = price[places, chosen][:, None] - price
        loss = np.where(saving > 0, worth, np.inf)
        place, view = np.unravel_index(int(loss.argmin()), loss.shape)
        chosen[place] = view
    return chosen
