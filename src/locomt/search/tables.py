"""View tables to try at a budget, made without data: the hand-made strategies, and random draws."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from locomt.search.budget import SearchError
from locomt.search.space import Space
from locomt.views import SELF, STRATEGIES, LayerViews, View, ViewTable

ALL_CROSS = "all cross"


def strategies(space: Space, limit: int, *, cross: float, seed: int) -> Mapping[str, ViewTable]:
    """A table by each of `locomt.views.STRATEGIES`, all of the same cost, and `all cross` where that fits.

    They have the fewest cross heads that the budget takes. Where it would take none, since all heads self fit, they
    have the share `cross`, or none at all where cross heads are the slower ones and that share does not fit. All heads
    cross, the pairs in turn, is the cheapest table by hand where FLOPs count.

    Args:
        limit: what a table may cost, as `space.cost` says it.
        cross: as `model.cross`.
        seed: of strategy `random`.

    Raises:
        SearchError: all heads cross, going round the pairs in turn, are above the limit.
    """
    places = space.layers * space.heads

    def make(name: str, share: float) -> ViewTable:
        return ViewTable.strategy(
            name, space.modalities, layers=space.layers, heads=space.heads, cross=share, seed=seed
        )

    def fits(share: float) -> bool:
        return space.cost(make("spread", share)) <= limit

    shares = [n / places for n in range(places + 1)]
    share = next(filter(fits, shares), None)
    if share is None:
        least = min(space.cost(make("spread", share)) for share in shares)
        raise SearchError(
            "the budget is below what the strategies can reach: whatever the number of cross heads, over all pairs in "
            f"turn, they take {space.worded(least)} or more"
        )
    if share == 0 and fits(cross):
        share = cross
    found = {name: make(name, share) for name in STRATEGIES}
    return found | {ALL_CROSS: make("spread", 1.0)} if fits(1.0) else found


def draws(space: Space, limit: int, count: int, seed: int) -> Mapping[str, ViewTable]:
    """Different tables drawn at random.

    The heads of all layers take their views in a shuffled order, each one at random out of those that leave enough of
    the budget for the heads that are still to come.

    Args:
        limit: what a table may cost, as `space.cost` says it.
        count: how many; fewer come where there are hardly as many tables within the budget.
        seed: the first so many tables of a seed are the same for any count.
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
    """Bring a table within the limit: give heads the cheapest view, until it fits.

    Args:
        limit: what it may cost, as `space.cost` says it.
        order: of all places, numbered layer by layer, in which heads give way.
    """
    heads = [view for layer in table.layers for view in layer.heads]
    least = cheapest_view(space)
    excess = space.cost(table) - limit
    for place in order:
        if excess <= 0:
            break
        excess -= space.price(heads[place]) - space.price(least)
        heads[place] = least
    return table_of(heads, space)


def cheapest_view(space: Space) -> View:
    return min(space.views, key=space.price)


def table_of(heads: Sequence[View], space: Space) -> ViewTable:
    """A table from the views of all heads, layer by layer."""
    rows = (tuple(heads[first : first + space.heads]) for first in range(0, len(heads), space.heads))
    return ViewTable(tuple(LayerViews(space.modalities, row) for row in rows))


TRIES = 20
"""Draws for each table that is wanted; after so many there are taken to be no more."""


def _draw(space: Space, limit: int, rng: random.Random) -> ViewTable:
    costs = {view: space.price(view) for view in space.views}
    cheapest = min(costs.values())
    places = [(layer, head) for layer in range(space.layers) for head in range(space.heads)]
    rng.shuffle(places)
    table: list[list[View]] = [[SELF] * space.heads for _ in range(space.layers)]
    left = limit
    for waiting, (layer, head) in zip(reversed(range(len(places))), places, strict=True):
        view = rng.choice([view for view, cost in costs.items() if cost + waiting * cheapest <= left])
        table[layer][head] = view
        left -= costs[view]
    return ViewTable(tuple(LayerViews(space.modalities, tuple(row)) for row in table))
