"""Budgets: how they are written, and what they come to in score pairs."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt import FusionConfig, LayerViews, View, ViewTable
from locomt.cost import computed_pairs
from locomt.search.budget import Budget, SearchError
from search_spaces import make_space


def test_a_share_a_number_of_flops_and_a_time() -> None:
    assert Budget.parse(" 0.3 ") == Budget(Fraction(3, 10), "share")
    assert Budget.parse("1.5 GFLOPs") == Budget(Fraction(3, 2), "gflops")
    assert str(Budget.parse("12gflops")) == "12gflops"
    assert Budget.parse("3.5 ms") == Budget(Fraction(7, 2), "ms")
    assert str(Budget.parse("3.5ms")) == "3.5ms"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("half", "expected a share of Multiall's attention FLOPs"),
        ("12tflops", "expected a share of Multiall's attention FLOPs"),
        ("-0.5", "expected a share of Multiall's attention FLOPs"),
        ("0", "a share above 0 and up to 1"),
        ("1.1", "a share above 0 and up to 1"),
        ("0gflops", "expected above 0"),
        ("0ms", "expected above 0"),
        ("8s", "or a time, such as 3.5ms"),
    ],
)
def test_what_is_no_budget_is_told(text: str, message: str) -> None:
    with pytest.raises(SearchError, match=message):
        Budget.parse(text)


def test_a_limit_is_exact() -> None:
    space = make_space({"a": 9, "b": 5})
    assert space.multiall == 2 * (14**2 + 2 * 14)  # behind the last layer, two class tokens are read
    assert space.limit(Budget.parse("0.5")) == 224
    assert space.limit(Budget.parse("0.4999")) == 223
    # 4 d C FLOPs, d = 4: 3584 FLOPs are 224 score pairs
    assert space.limit(Budget.parse("0.000003584gflops")) == 224
    assert space.gflops(224) == 3584 / 1e9


def test_a_budget_below_every_table_is_refused() -> None:
    with pytest.raises(SearchError, match=r"cheapest takes 0.4643 of Multiall's .* or 3.328e-06 GFLOPs"):
        make_space({"a": 9, "b": 5}).limit(Budget.parse("0.45"))
    assert make_space({"a": 9, "b": 5}, one_way=True).limit(Budget.parse("0.45")) == 201


def test_a_table_costs_what_the_closed_form_says() -> None:
    space = make_space({"a": 9, "b": 5, "c": 2})
    table = ViewTable.parse("self:1 a~b:1\nb~c:2", space.modalities)
    config = FusionConfig.from_dict(space.config.to_dict() | {"views": str(table)})
    last = 2 * (2 + 5)  # a class token of b and one of c, in each head
    assert space.cost(table) == (81 + 25 + 4) + 2 * 45 + last
    # In the last layer nobody looks at a, so that in the first its class token is all of it that is read.
    assert computed_pairs(config) == (9 + 25 + 4) + (5 + 45) + last
    assert space.figures(table)["gflops"] == space.gflops(computed_pairs(config))
    assert space.multiall == computed_pairs(FusionConfig.from_dict(config.to_dict() | MULTIALL))


@given(st.data(), st.integers(1, 3), st.booleans())
def test_a_table_takes_what_its_prices_add_up_to_or_less(data: st.DataObject, layers: int, steps: bool) -> None:
    space = make_space({"a": 9, "b": 9, "c": 2}, one_way=True, fusion_layers=layers, steps=("b",) if steps else ())
    views = st.sampled_from(space.all_views)
    rows = data.draw(st.lists(st.tuples(views, views), min_size=layers, max_size=layers))
    table = ViewTable(tuple(LayerViews(space.modalities, row) for row in rows))
    exact = computed_pairs(space.with_table(table))
    assert exact <= space.cost(table)
    if all(View("multi") in layer.heads for layer in table.layers[1:]):  # by which every row below is read
        assert exact == space.cost(table)


MULTIALL = {"fusion": "multiall", "views": None}


def test_one_modality_has_nothing_to_search() -> None:
    with pytest.raises(SearchError, match="a alone: it can look nowhere but at itself"):
        make_space({"a": 9}, fusion="selfall")
