"""Views and tables: text form, strategies, the guarantee's per-head inequality."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt import LayerViews, View, ViewTable
from locomt.views import KINDS, STRATEGIES, ViewError, view_set

NAMES = ("video", "audio", "text", "depth", "lips")
WORDS = st.sampled_from([kind.form for mark, kind in KINDS.items() if mark == kind.form])


@st.composite
def layers(draw: st.DrawFn, modalities: tuple[str, ...]) -> LayerViews:
    views = [*view_set(modalities), *(View(f"{a}>{b}") for a in modalities for b in modalities if a != b)]
    return LayerViews(modalities, tuple(draw(st.lists(st.sampled_from(views), min_size=1, max_size=12))))


@given(st.data(), st.integers(1, 5))
def test_text_form_round_trips(data: st.DataObject, m: int) -> None:
    layer = data.draw(layers(NAMES[:m]))
    layer = LayerViews(layer.modalities, (*layer.heads, *(View(word) for word in data.draw(st.lists(WORDS)))))
    assert LayerViews.parse(str(layer), NAMES[:m]) == layer


@given(st.sampled_from(STRATEGIES), st.integers(2, 5), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
def test_strategies_hold_equally_many_cross_heads(name: str, m: int, depth: int, heads: int, cross: float) -> None:
    table = ViewTable.strategy(name, NAMES[:m], layers=depth, heads=heads, cross=cross)
    counts = [sum(view.is_cross for view in layer.heads) for layer in table.layers]
    assert sum(counts) == round(cross * depth * heads)
    assert (len(table.layers), table.num_heads) == (depth, heads)
    assert ViewTable.parse(str(table), NAMES[:m]) == table
    if name == "ascending":
        assert counts == sorted(counts)
    if name == "descending":
        assert counts == sorted(counts, reverse=True)
    if name == "spread":
        assert max(counts) - min(counts) <= 1
    pairs = [view.text for layer in table.layers for view in layer.heads if view.is_cross]
    uses = [pairs.count(pair.text) for pair in view_set(NAMES[:m])[1:]]
    assert max(uses) - min(uses) <= 1


def test_shapes_of_the_strategies() -> None:
    options = {"layers": 6, "heads": 4}
    assert cross_counts_of("spread", **options) == [2, 2, 2, 2, 2, 2]
    assert cross_counts_of("alternating", **options) == [0, 4, 0, 4, 0, 4]
    assert cross_counts_of("bottleneck", cross=1 / 3, **options) == [0, 0, 4, 4, 0, 0]
    assert cross_counts_of("ascending", **options) == [0, 1, 2, 2, 3, 4]
    assert cross_counts_of("descending", **options) == [4, 3, 2, 2, 1, 0]


def cross_counts_of(name: str, **options: Any) -> list[int]:
    table = ViewTable.strategy(name, ("v", "a"), **options)
    return [sum(view.is_cross for view in layer.heads) for layer in table.layers]


def test_random_strategy_follows_its_seed() -> None:
    one, again, other = (ViewTable.strategy("random", ("v", "a"), layers=4, heads=8, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


@given(st.data(), st.lists(st.integers(0, 50), min_size=2, max_size=5))
def test_no_view_of_the_set_costs_more_than_self(data: st.DataObject, sizes: list[int]) -> None:
    names = NAMES[: len(sizes)]
    lengths = dict(zip(names, sizes, strict=True))
    own = View("self").score_pairs(lengths)
    for view in view_set(names):
        assert view.score_pairs(lengths) <= own
    layer = data.draw(layers(names))
    assert layer.score_pairs(lengths) <= own * len(layer.heads) <= len(layer.heads) * sum(sizes) ** 2
    first, second = sizes[:2]
    pair = {n: lengths[n] for n in names[:2]}
    gap = View("self").score_pairs(pair) - View(f"{names[0]}~{names[1]}").score_pairs(pair)
    assert gap == (first - second) ** 2


def test_matrices_are_the_papers() -> None:
    layer = LayerViews.parse("self:1 a~c:1 multi:1 b>a:1", ("a", "b", "c"))
    assert layer.allowed.long().tolist() == [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
        [[0, 0, 0], [1, 0, 0], [0, 0, 0]],
    ]
    assert len(view_set(NAMES)) == 5 * 4 // 2 + 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 3)), min_size=1, max_size=5))
def test_cls_costs_every_query_the_class_tokens_that_are_there(sizes: list[tuple[int, int]]) -> None:
    lengths = {name: length for name, (length, _) in zip(NAMES, sizes, strict=False)}
    class_tokens = {name: count for name, (_, count) in zip(NAMES, sizes, strict=False)}
    keys = sum(min(size) for size in sizes)
    assert View("cls").score_pairs(lengths, class_tokens) == sum(lengths.values()) * keys
    layer = LayerViews(tuple(lengths), (View("self"), View("cls"), View("cls")))
    own = View("self").score_pairs(lengths)
    assert layer.score_pairs(lengths, class_tokens) == own + 2 * sum(lengths.values()) * keys
    assert View("multi").score_pairs(lengths, class_tokens) == sum(lengths.values()) ** 2


@given(st.data(), st.lists(st.integers(0, 50), min_size=2, max_size=5))
def test_what_a_bounded_kind_costs_is_at_most_self(data: st.DataObject, sizes: list[int]) -> None:
    names = NAMES[: len(sizes)]
    lengths = dict(zip(names, sizes, strict=True))
    a, b = data.draw(st.permutations(names))[:2]
    for mark, kind in KINDS.items():
        view = View(mark if mark == kind.form else f"{a}{mark}{b}")
        assert view.kind is kind
        if kind.bounded:
            assert view.score_pairs(lengths) <= View("self").score_pairs(lengths)


def test_masks_tell_class_tokens_apart_where_a_view_does() -> None:
    plain, layer = (LayerViews.parse(text, ("a", "b")) for text in ("self:1 a>b:1", "self:1 a>b:1 cls:1"))
    assert (plain.parts, plain.masks) == (1, (0b01, 0b10, 0b10, 0))
    assert layer.parts == 2
    assert layer.masks == (0b0011, 0b0011, 0b1100, 0b1100, 0b1100, 0b1100, 0, 0, *[0b0101] * 4)
    assert layer.allowed[2].all()


def test_a_modality_may_be_called_as_a_later_kind_of_view_is() -> None:
    layer = LayerViews.parse("cls:1 cls~a:1", ("a", "cls"))
    assert str(layer) == "cls:1 a~cls:1"
    assert [view.sees("a", "a") for view in layer.heads] == [True, False]


def test_more_modalities_than_a_mask_has_bits_for() -> None:
    names = [f"m{n}" for n in range(32)]
    assert LayerViews.parse("self:1", names).parts == 1
    with pytest.raises(ViewError, match="view cls takes at most 31 modalities, got 32"):
        LayerViews.parse("self:1 cls:1", names)


def test_queries_that_fall_back_on_their_own_modality_are_charged_for_it() -> None:
    layer = LayerViews.parse("self:1 a~b:2 b>a:1 cls:1", ("a", "b"))
    tokens, class_tokens = {"a": 0, "b": 5}, {"b": 2}
    assert layer.query_pairs(tokens, class_tokens) == {"a": 0, "b": 25 + 10}
    assert layer.query_pairs(tokens, class_tokens, own=True) == {"a": 0, "b": 25 * 4 + 10}


def test_a_pair_is_written_in_the_order_of_the_modalities() -> None:
    assert str(LayerViews.parse("audio~video:2", ("video", "audio"))) == "video~audio:2"


def test_grouped_order_lays_equal_views_side_by_side() -> None:
    layer = LayerViews.parse("self:1 v~a:1 self:1 v~a:2", ("v", "a"))
    assert layer.grouped == (0, 2, 1, 3, 4)
    assert str(layer.ordered(layer.grouped)) == "self:2 v~a:3"
    assert layer.frequencies == {"self": 2, "v~a": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("self:6 video~audio:5", ["line 2", "expected 6 heads", "11"]),
        ("self:3 video~smell:3", ["line 2", "video~smell", "'smell'", "video, audio"]),
        ("self", ["line 2", "view:heads", "'self'"]),
        ("self:0", ["line 2", "above 0"]),
        ("both:6", ["line 2", "'both'", "a~b"]),
        ("video~video:6", ["line 2", "'video'", "itself"]),
    ],
)
def test_table_errors_name_line_view_and_modality(text: str, words: list[str]) -> None:
    with pytest.raises(ViewError) as error:
        ViewTable.parse(f"self:6\n{text}", ("video", "audio"))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("names", [(), ("a", "a"), ("self", "a"), ("a b",), ("1a",), "video"])
def test_modalities_that_cannot_serve_are_refused(names: tuple[str, ...] | str) -> None:
    with pytest.raises(ViewError):
        view_set(names)


@pytest.mark.parametrize(
    ("name", "options"),
    [("steep", {}), ("spread", {"cross": 1.5}), ("spread", {"layers": 0}), ("spread", {"modalities": ("a",)})],
)
def test_strategy_errors(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ViewError):
        ViewTable.strategy(name, **({"modalities": ("a", "b"), "layers": 2, "heads": 2} | options))


def test_table_comments_and_blank_lines() -> None:
    table = ViewTable.parse("# lower\nself:2\n\nv~a:2  # upper\n", ("v", "a"))
    assert str(table) == "self:2\nv~a:2"
