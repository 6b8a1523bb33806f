"""Views and tables: text form, strategies, the guarantee's per-head inequality."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt import LayerViews, View, ViewTable
from locomt.views import STRATEGIES, ViewError, view_set

NAMES = ("video", "audio", "text", "depth", "lips")


@st.composite
def layers(draw, modalities):
    views = [*view_set(modalities), *(View(f"{a}>{b}") for a in modalities for b in modalities if a != b)]
    return LayerViews(modalities, tuple(draw(st.lists(st.sampled_from(views), min_size=1, max_size=12))))


@given(st.data(), st.integers(1, 5))
def test_text_form_round_trips(data, m):
    layer = data.draw(layers(NAMES[:m]))
    assert LayerViews.parse(str(layer), NAMES[:m]) == layer


@given(st.sampled_from(STRATEGIES), st.integers(2, 5), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
def test_strategies_hold_equally_many_cross_heads(name, m, depth, heads, cross):
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


def test_shapes_of_the_strategies():
    options = {"layers": 6, "heads": 4}
    assert cross_counts_of("spread", **options) == [2, 2, 2, 2, 2, 2]
    assert cross_counts_of("alternating", **options) == [0, 4, 0, 4, 0, 4]
    assert cross_counts_of("bottleneck", cross=1 / 3, **options) == [0, 0, 4, 4, 0, 0]
    assert cross_counts_of("ascending", **options) == [0, 1, 2, 2, 3, 4]
    assert cross_counts_of("descending", **options) == [4, 3, 2, 2, 1, 0]


def cross_counts_of(name, **options):
    table = ViewTable.strategy(name, ("v", "a"), **options)
    return [sum(view.is_cross for view in layer.heads) for layer in table.layers]


def test_random_strategy_follows_its_seed():
    one, again, other = (ViewTable.strategy("random", ("v", "a"), layers=4, heads=8, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


@given(st.data(), st.lists(st.integers(0, 50), min_size=2, max_size=5))
def test_no_view_of_the_set_costs_more_than_self(data, sizes):
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


def test_matrices_are_the_papers():
    layer = LayerViews.parse("self:1 a~c:1 multi:1 b>a:1", ("a", "b", "c"))
    assert layer.allowed.long().tolist() == [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
        [[0, 0, 0], [1, 0, 0], [0, 0, 0]],
    ]
    assert len(view_set(NAMES)) == 5 * 4 // 2 + 1


def test_a_pair_is_written_in_the_order_of_the_modalities():
    assert str(LayerViews.parse("audio~video:2", ("video", "audio"))) == "video~audio:2"


def test_grouped_order_lays_equal_views_side_by_side():
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
def test_table_errors_name_line_view_and_modality(text, words):
    with pytest.raises(ViewError) as error:
        ViewTable.parse(f"self:6\n{text}", ("video", "audio"))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("names", [(), ("a", "a"), ("self", "a"), ("a b",), ("1a",), "video"])
def test_modalities_that_cannot_serve_are_refused(names):
    with pytest.raises(ViewError):
        view_set(names)


@pytest.mark.parametrize(
    ("name", "options"),
    [("steep", {}), ("spread", {"cross": 1.5}), ("spread", {"layers": 0}), ("spread", {"modalities": ("a",)})],
)
def test_strategy_errors(name, options):
    with pytest.raises(ViewError):
        ViewTable.strategy(name, **({"modalities": ("a", "b"), "layers": 2, "heads": 2} | options))


def test_table_comments_and_blank_lines():
    table = ViewTable.parse("# lower\nself:2\n\nv~a:2  # upper\n", ("v", "a"))
    assert str(table) == "self:2\nv~a:2"
