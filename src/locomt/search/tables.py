"""View tables to try within a budget, made without data: the hand-made strategies and random draws."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from locomt.search.budget import SearchError
from locomt.search.space import Space
from locomt.views import SELF, STRATEGIES, LayerViews, View, ViewTable

ALL_CROSS = "all cross"


def strategies(space: Space, limit: int, *, cross: float, seed: int) -> Mapping[str, ViewTable]:
    """Make a table by each of `locomt.views.STRATEGIES`, and `all cross` if it fits.

    They have the fewest cross heads with which all of them fit into the budget. As many in each: their costs differ by
    the last layer's heads alone, which take little. If all heads self fit, that would be none; then they have
    the share `cross`, or still none if that share does not fit because cross heads are slower. In FLOPs, `all cross`,
    with the pairs in turn, is the cheapest table.

    Args:
        limit: the most that a table may cost, in the unit of `space.cost`.
        cross: the share of cross heads, as `model.cross`.
        seed: for strategy `random`.

    Raises:
        SearchError: no share of cross heads is within the limit.
    """
    places = space.layers * space.heads

    def make(name: str, share: float) -> ViewTable:
        return ViewTable.strategy(
            name, space.modalities, layers=space.layers, heads=space.heads, cross=share, seed=seed
        )

    def fits(share: float) -> bool:
        return dearest(share) <= limit

    def dearest(share: float) -> int:
        return max(space.cost(make(name, share)) for name in STRATEGIES)

    shares = [n / places for n in range(places + 1)]
    share = next(filter(fits, shares), None)
    if share is None:
        least = min(map(dearest, shares))
        raise SearchError(
            "the budget is below what the strategies can reach: whatever the number of cross heads, over all pairs in "
            f"turn, they take {space.worded(least)} or more"
        )
    if share == 0 and fits(cross):
        share = cross
    found = {name: make(name, share) for name in STRATEGIES}
    return found | {ALL_CROSS: make("spread", 1.0)} if fits(1.0) else found


def draws(space: Space, limit: int, count: int, seed: int) -> Mapping[str, ViewTable]:
    """Draw different tables at random.

    The heads of all layers get their views in random order. A head's view is drawn from those that leave enough of the
    budget for the remaining heads.

    Args:
        limit: the most that a table may cost, in the unit of `space.cost`.
        count: how many tables; fewer are found if there are hardly as many within the budget.
        seed: for the draws. A larger `count` adds tables to those of a smaller one.
    """
    found: dict[str, ViewTable] = {}
    for number in range(count * TRIES):
        table = _draw(space, limit, random.Random(f"{seed}.{number}"))
        if table not in found.values():
            found[f"random {seed}.{number}"] = table
        if len(found) == count:
            break
    return found


def within(table: ViewTable, space: Space, limit: int, order: Iterable[int]) -> ViewTable:
    """Bring a table within the limit: give heads the cheapest view until it fits.

    Args:
        limit: the most that it may cost, in the unit of `space.cost`.
        order: all heads, numbered layer by layer, in the order in which they are changed.
    """
    heads = [view for layer in table.layers for view in layer.heads]
    excess = space.cost(table) - limit
    for place in order:
        if excess <= 0:
            break
        layer = place // space.heads
        least = cheapest_view(space, layer)
        excess -= space.price(heads[place], layer) - space.price(least, layer)
        heads[place] = least
    return table_of(heads, space)


def cheapest_view(space: Space, layer: int) -> View:
    prices = space.prices(layer)
    return min(prices, key=prices.__getitem__)


def table_of(heads: Sequence[View], space: Space) -> ViewTable:
    """A table from the views of all heads, layer by layer."""
    rows = (tuple(heads[first : first + space.heads]) for first in range(0, len(heads), space.heads))
    return ViewTable(tuple(LayerViews(space.modalities, row) for row in rows))


TRIES = 20
"""Draws for each table that is wanted, before it is assumed that there are no more."""


def _draw(space: Space, limit: int, rng: random.Random) -> ViewTable:
    costs = [space.prices(layer) for layer in range(space.layers)]
    least = [min(own.values()) for own in costs]
    places = [(layer, head) for layer in range(space.layers) for head in range(space.heads)]
    rng.shuffle(places)
    table: list[list[View]] = [[SELF] * space.heads for _ in range(space.layers)]
    left, waiting = limit, space.heads * sum(least)
    for layer, head in places:
        waiting -= least[layer]
        view = rng.choice([view for view, cost in costs[layer].items() if cost + waiting <= left])
        table[layer][head] = view
        left -= costs[layer][view]
    return ViewTable(tuple(LayerViews(space.modalities, tuple(row)) for row in table))
