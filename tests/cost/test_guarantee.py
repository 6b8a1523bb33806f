from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt import FusionConfig, ViewTable
from locomt.cost import guarantee, largest_bottleneck
from locomt.nn import FeatureSpec
from locomt.views import view_set

LENGTHS = st.integers(1, 10_000)


def model(lengths: list[int], views: str | None, **options: object) -> FusionConfig:
    """A model whose modalities a, b, ... have these token counts, [CLS] counted."""
    modalities = {chr(ord("a") + i): FeatureSpec(dim=1, max_length=max(1, n - 1)) for i, n in enumerate(lengths)}
    layers = len(views.splitlines()) if views else 1
    fixed = {"dim": 12, "heads": 4, "depth": layers, "fusion_layers": layers, "num_outputs": 2}
    return FusionConfig(**{**fixed, "modalities": modalities, "views": views, **options})  # type: ignore[arg-type]


def tokens(config: FusionConfig, lengths: list[int]) -> dict[str, int]:
    return dict(zip(config.modalities, lengths, strict=True))


@st.composite
def tables(draw: st.DrawFn, modalities: int, one_way: bool = True) -> str:
    names = tuple("abcde"[:modalities])
    views = [str(view) for view in view_set(names)]
    if one_way:
        views += [view.replace("~", ">") for view in views[1:]]
    heads = st.lists(st.sampled_from(views).map("{}:1".format), min_size=4, max_size=4).map(" ".join)
    return "\n".join(draw(st.lists(heads, min_size=1, max_size=4)))


@given(st.data(), st.integers(2, 5), st.integers(1, 16), st.sampled_from(("zero", "self")))
def test_no_table_costs_more_than_self_and_self_less_than_the_baselines(
    data: st.DataObject, modalities: int, bottlenecks: int, on_missing: str
) -> None:
    lengths = data.draw(st.lists(LENGTHS, min_size=modalities, max_size=modalities))
    config = model(lengths, data.draw(tables(modalities)), bottlenecks=bottlenecks, on_missing=on_missing)
    counts = tokens(config, lengths)
    for name in data.draw(st.sets(st.sampled_from(sorted(counts)), max_size=modalities - 1)):
        counts[name] = 0
    found = guarantee(config, counts)
    for layer in (*found.layers, found.total):
        assert layer.locomt <= layer.self < layer.bottle
        assert (layer.bottle < layer.multi) is (found.holds_up_to is not None and bottlenecks <= found.holds_up_to)
    assert found.holds is (found.total.bottle < found.total.multi)


@given(st.data(), st.integers(2, 5))
def test_four_numbers_are_the_formulas(data: st.DataObject, modalities: int) -> None:
    lengths = data.draw(st.lists(LENGTHS, min_size=modalities, max_size=modalities))
    text = data.draw(tables(modalities))
    config = model(lengths, text)
    counts = tokens(config, lengths)
    found, heads = guarantee(config, counts).total, 4 * config.fusion_layers
    assert found.locomt == ViewTable.parse(text, counts).score_pairs(counts)
    assert found.self == heads * sum(n**2 for n in lengths)
    assert found.bottle == heads * sum((n + 4) ** 2 for n in lengths)
    assert found.multi == heads * sum(lengths) ** 2


@given(LENGTHS, LENGTHS)
def test_two_modalities_save_the_square_of_their_difference(a: int, b: int) -> None:
    config = model([a, b], "a~b:4")
    found = guarantee(config, {"a": a, "b": b}).total
    assert found.self - found.locomt == 4 * (a - b) ** 2
    assert (found.self == found.locomt) is (a == b)


@given(st.lists(LENGTHS, min_size=3, max_size=5))
def test_of_three_modalities_a_cross_head_always_saves(lengths: list[int]) -> None:
    config = model(lengths, "self:3 a~b:1")
    found = guarantee(config, tokens(config, lengths)).total
    assert found.locomt < found.self


@given(st.lists(LENGTHS, min_size=1, max_size=6))
def test_largest_bottleneck_is_the_last_that_holds(lengths: list[int]) -> None:
    def holds(bottlenecks: int) -> bool:
        return sum((n + bottlenecks) ** 2 for n in lengths) < sum(lengths) ** 2

    limit = largest_bottleneck(lengths)
    if limit is None:
        assert not holds(0)
        assert len(lengths) == 1
    else:
        assert holds(limit)
        assert not holds(limit + 1)


def test_largest_bottleneck_where_equality_is_not_enough() -> None:
    assert (2 + 1) ** 2 + (3 + 1) ** 2 == (2 + 3) ** 2
    assert largest_bottleneck([2, 3]) == 0


@given(st.lists(LENGTHS, min_size=2, max_size=4), st.integers(1, 4))
def test_longer_samples_bear_more_bottlenecks(lengths: list[int], factor: int) -> None:
    limits = [largest_bottleneck([scale * n for n in lengths]) for scale in range(1, factor + 1)]
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(limits))


def test_too_many_bottlenecks_are_reported() -> None:
    found = guarantee(model([20, 10], "self:4", bottlenecks=30), None)
    assert found.total.bottle > found.total.multi
    assert found.broken == (
        f"C_bottle < C_multi holds up to B = {found.holds_up_to} at these token counts, not for 30",
    )


def test_multi_heads_are_reported_even_where_the_sum_happens_to_hold() -> None:
    config = model([1000, 10], "a~b:3 multi:1\nself:4")
    found = guarantee(config)
    assert found.layers[0].locomt < found.layers[0].self
    assert not found.holds
    assert found.broken[0].startswith("C_LoCoMT <= C_self is not guaranteed: 1 of 4 heads of fusion layer 1 are multi")


def test_views_outside_the_set_are_reported_each() -> None:
    found = guarantee(model([1000, 10], "a~b:1 cls:2 multi:1"))
    assert found.total.locomt == 2 * 1000 * 10 + 2 * 1010 * 2 + 1010**2
    kinds = ["2 of 4 heads of fusion layer 1 are cls", "1 of 4 heads of fusion layer 1 are multi"]
    assert all(words in sentence for words, sentence in zip(kinds, found.broken, strict=True))


def test_one_modality_alone_has_nothing_to_win() -> None:
    found = guarantee(model([30, 10], "self:3 a~b:1"), {"a": 30})
    assert found.holds_up_to is None
    assert found.broken == ("C_bottle < C_multi holds for no B: there is one modality alone",)


def test_mbt_has_no_table() -> None:
    with pytest.raises(ValueError, match="'mbt' has none"):
        guarantee(model([30, 10], None, fusion="mbt"))
