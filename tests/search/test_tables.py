"""Tables that are made without looking at data: all fit the budget, the strategies with as many cross heads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt.search.budget import SearchError
from locomt.search.tables import draws, strategies
from locomt.views import STRATEGIES, ViewTable
from search_spaces import make_space

LENGTHS = st.lists(st.integers(2, 12), min_size=2, max_size=4).map(lambda n: dict(zip("abcd", n, strict=False)))


@given(LENGTHS, st.integers(1, 4), st.sampled_from((1, 2, 4)), st.floats(0, 1))
def test_strategies_have_the_fewest_cross_heads_that_fit(
    lengths: dict[str, int], layers: int, heads: int, share: float
) -> None:
    space = make_space(lengths, fusion_layers=layers, heads=heads, depth=4)
    own = space.cost(ViewTable.uniform("self", space.modalities, layers, heads))
    limit = round(share * own)
    try:
        tables = strategies(space, limit, cross=0.5, seed=0)
    except SearchError:
        fewest = strategies(space, own, cross=1.0, seed=0)
        assert max(space.cost(table) for table in fewest.values()) > limit
        return
    crossing = tables.pop("all cross", None)
    if crossing:
        assert all(view.is_cross for layer in crossing.layers for view in layer.heads)
        assert space.cost(crossing) <= limit
    assert tuple(tables) == STRATEGIES
    assert all(space.cost(table) <= limit for table in tables.values())
    counts = {sum(view.is_cross for layer in table.layers for view in layer.heads) for table in tables.values()}
    (crosses,) = counts
    if limit < own:  # with one cross head less, one of them takes too much
        sizes = {"layers": layers, "heads": heads, "cross": (crosses - 1) / (layers * heads)}
        assert any(space.cost(ViewTable.strategy(name, space.modalities, **sizes)) > limit for name in STRATEGIES)
    else:
        assert crosses == round(0.5 * layers * heads)


@given(LENGTHS, st.booleans(), st.floats(0, 1), st.integers(0, 3))
def test_draws_fit_are_different_and_repeat(lengths: dict[str, int], one_way: bool, share: float, seed: int) -> None:
    space = make_space(lengths, one_way=one_way)
    least = 2 * sum(min(space.prices(layer).values()) for layer in range(2))
    limit = least + round(share * (space.multiall - least))
    tables = draws(space, limit, 4, seed)
    assert tables
    assert all(space.cost(table) <= limit for table in tables.values())
    assert len(set(tables.values())) == len(tables)
    assert {view for t in tables.values() for layer in t.layers for view in layer.heads} <= set(space.views)
    fewer = draws(space, limit, 2, seed)
    assert list(fewer.items()) == list(tables.items())[:2]


def test_draws_favour_no_layer() -> None:
    space = make_space({"a": 9, "b": 2}, fusion_layers=3, heads=4)
    last = 4 * 11  # whatever the views
    limit = 4 * 85 + 4 * 36 + last  # half of the heads below can be self
    tables = draws(space, limit, 60, 0)
    lower, upper = (
        sum(t.layers[layer].frequencies.get("self", 0) for t in tables.values()) / len(tables) for layer in (0, 1)
    )
    assert lower == pytest.approx(upper, abs=0.5)
    assert lower + upper > 2.5
