"""Budgets: how they are written, and what they come to in score pairs."""

from fractions import Fraction

import pytest

from locomt import FusionConfig, ViewTable
from locomt.cost import fusion_pairs
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
    assert space.multiall == 2 * 2 * 14**2
    assert space.limit(Budget.parse("0.5")) == 392
    assert space.limit(Budget.parse("0.4999")) == 391
    # 4 d C FLOPs, d = 4: 6272 FLOPs are 392 score pairs
    assert space.limit(Budget.parse("0.000006272gflops")) == 392
    assert space.gflops(392) == 6272 / 1e9


def test_a_budget_below_every_table_is_refused() -> None:
    with pytest.raises(SearchError, match=r"cheapest takes 0.4592 of Multiall's .* or 5.76e-06 GFLOPs"):
        make_space({"a": 9, "b": 5}).limit(Budget.parse("0.45"))
    assert make_space({"a": 9, "b": 5}, one_way=True).limit(Budget.parse("0.45")) == 352


def test_a_table_costs_what_the_closed_form_says() -> None:
    space = make_space({"a": 9, "b": 5, "c": 2})
    table = ViewTable.parse("self:1 a~b:1\nb~c:2", space.modalities)
    config = FusionConfig.from_dict(space.config.to_dict() | {"views": str(table)})
    assert space.cost(table) == sum(fusion_pairs(config))
    assert space.multiall == sum(fusion_pairs(FusionConfig.from_dict(config.to_dict() | MULTIALL)))


MULTIALL = {"fusion": "multiall", "views": None}


def test_one_modality_has_nothing_to_search() -> None:
    with pytest.raises(SearchError, match="a alone: it can look nowhere but at itself"):
        make_space({"a": 9}, fusion="selfall")
