"""What is read of each layer: by hand, and by following every row to the head one by one."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locomt.views import LayerViews, Part, View, ViewTable, view_set
from locomt.views.reads import (
    ALL,
    CLASS,
    MOST_SPLIT,
    NONE,
    REST,
    Rows,
    bottleneck_reads,
    everything,
    range_of,
    rows_there,
    table_reads,
)

NAMES = ("a", "b", "c")
PARTS = (CLASS, REST)
Node = tuple[str, int, int, int, int]
"""What it is (a row of the residual stream, a query or a key), its layer, head, modality and part."""


@st.composite
def problems(draw: st.DrawFn) -> tuple[ViewTable, Rows, Rows, int]:
    """(table, rows that the head reads, rows that are there, own)"""
    names = NAMES[: draw(st.integers(1, 3))]
    views = [View("self"), View("multi"), View("cls"), *view_set(names, one_way=True)[1:]]
    heads = draw(st.integers(1, 3))
    layer = st.lists(st.sampled_from(views), min_size=heads, max_size=heads)
    layers = tuple(LayerViews(names, tuple(own)) for own in draw(st.lists(layer, min_size=1, max_size=4)))
    there = tuple(draw(st.sampled_from((NONE, CLASS, ALL, ALL))) for _ in names)
    answer = tuple(draw(st.sampled_from((NONE, CLASS, REST, ALL))) for _ in names)
    return ViewTable(layers), answer, there, draw(st.integers(0, 2))


def walk(table: ViewTable, answer: Rows, there: Rows, own: int) -> set[Node]:
    """Everything that the answer depends on, row by row."""
    names, found = table.modalities, set()
    todo: list[Node] = [
        ("row", len(table.layers), 0, i, part)
        for i in range(len(names))
        for part in PARTS
        if answer[i] & there[i] & part
    ]
    while todo:
        node = todo.pop()
        if node in found:
            continue
        found.add(node)
        what, layer, head, i, part = node
        if what != "row":
            todo.append(("row", layer, 0, i, part))  # that it is projected from
        elif layer:
            todo.append(("row", layer - 1, 0, i, part))  # the residual connection
            for head, view in enumerate(table.layers[layer - 1].heads):
                keys = list(seen(view, names, i, there, own))
                todo += [("query", layer - 1, head, i, part)] * bool(keys)
                todo += [("key", layer - 1, head, *key) for key in keys]
    return found


def seen(view: View, names: tuple[str, ...], i: int, there: Rows, own: int) -> Iterable[tuple[int, int]]:
    """The modalities and parts that queries see, or may see."""
    parts = [view.part(names[i], key) for key in names]
    keys = {
        (j, part)
        for j, how in enumerate(parts)
        for part in PARTS
        if how is Part.ALL or (how is Part.CLASS and part == CLASS)
    }
    here = {(j, part) for j, part in keys if there[j] & part}
    falls_back = own and keys and not any(j == i for j, _ in keys) and (own == 2 or not here)
    return here | ({(i, part) for part in PARTS if there[i] & part} if falls_back else set())


@given(problems())
def test_what_is_read_is_what_the_answer_depends_on(problem: tuple[ViewTable, Rows, Rows, int]) -> None:
    table, answer, there, own = problem
    found = walk(*problem)
    for layer, reads in enumerate(table_reads([(views,) for views in table.layers], answer, there, own)):
        for i in range(len(there)):
            rows = [sum(part for part in PARTS if ("row", at, 0, i, part) in found) for at in (layer, layer + 1)]
            assert [reads.inputs[i], reads.outputs[i]] == rows
            for h, head in enumerate(reads.heads):
                queries = sum(part for part in PARTS if ("query", layer, h, i, part) in found)
                assert queries == (reads.outputs[i] if head.queries[i] else NONE)
                assert head.keys[i] == sum(part for part in PARTS if ("key", layer, h, i, part) in found)


def reads_of(text: str, answer: Rows, there: Rows = (ALL, ALL, ALL)) -> list[tuple[Rows, Rows]]:
    table = ViewTable.parse(text, NAMES)
    return [(layer.inputs, layer.outputs) for layer in table_reads([(own,) for own in table.layers], answer, there)]


def test_by_hand() -> None:
    classes = (CLASS, CLASS, CLASS)
    assert reads_of("self:2\nself:2", classes) == [((ALL,) * 3, (ALL,) * 3), ((ALL,) * 3, classes)]
    # Nobody looks at c, whose class token is passed through: below, nothing else of it is read either.
    assert reads_of("a~b:2\na~b:2", classes) == [((ALL, ALL, CLASS),) * 2, ((ALL, ALL, CLASS), classes)]
    # Class tokens that are all that anybody sees are all that the layer below has to give.
    assert reads_of("self:2\ncls:2", classes) == [((ALL,) * 3, classes), (classes, classes)]
    # An answer for each of a's steps, from a and what it looks at.
    top = ((REST, ALL, NONE), (REST, NONE, NONE))
    assert reads_of("self:2\na>b:2", (REST, NONE, NONE)) == [((ALL, ALL, NONE), top[0]), top]
    # Without b, nobody looks at anything but itself.
    assert reads_of("a~b:1 self:1", classes, (ALL, NONE, CLASS)) == [((ALL, NONE, CLASS), (CLASS, NONE, CLASS))]


def test_a_head_that_leaves_a_modality_out_reads_nothing_of_it() -> None:
    layer = LayerViews.parse("self:1 a~b:1 b>c:1", NAMES)
    (reads,) = table_reads([(layer,)], (ALL, ALL, ALL), (ALL, ALL, ALL))
    assert [head.queries for head in reads.heads] == [(True, True, True), (True, True, False), (False, True, False)]
    assert [head.keys for head in reads.heads] == [(ALL, ALL, ALL), (ALL, ALL, NONE), (NONE, NONE, ALL)]
    assert reads != everything(3, (ALL, ALL, ALL))
    (all_self,) = table_reads([(LayerViews.parse("self:3", NAMES),)], (ALL,) * 3, (ALL,) * 3)
    assert all_self == everything(3, (ALL, ALL, ALL))


def test_bottlenecks_reach_the_answer_through_a_layer_above() -> None:
    top, below, lowest = reversed(bottleneck_reads(3, (REST, NONE), (ALL, ALL)))
    assert top == ((ALL, NONE), (REST, NONE), False)
    assert below == ((ALL, ALL), (ALL, NONE), True)
    assert lowest == ((ALL, ALL), (ALL, ALL), True)
    assert bottleneck_reads(1, (CLASS, NONE), (ALL, ALL)) == (((ALL, NONE), (CLASS, NONE), False),)
    assert bottleneck_reads(2, (CLASS, CLASS), (ALL, NONE))[0] == ((ALL, NONE), (ALL, NONE), True)


@pytest.mark.parametrize(("modalities", "rows"), [(MOST_SPLIT, CLASS), (MOST_SPLIT + 1, ALL)])
def test_of_many_modalities_all_rows_are_read_or_none(modalities: int, rows: int) -> None:
    names = tuple(f"m{n}" for n in range(modalities))
    layer = LayerViews.parse("self:1", names)
    (reads,) = table_reads([(layer,)], (CLASS,) * (modalities - 1) + (NONE,), (ALL,) * modalities)
    assert reads.outputs == (rows,) * (modalities - 1) + (NONE,)


@pytest.mark.parametrize(("tokens", "first"), [(0, 1), (1, 1), (5, 1), (1, 2), (5, 2)])
def test_rows_are_ranges_of_tokens(tokens: int, first: int) -> None:
    every = [[*range(*range_of(rows, tokens, first))] for rows in (NONE, CLASS, REST, ALL)]
    assert every == [[], [*range(min(first, tokens))], [*range(first, tokens)], [*range(tokens)]]
    there = rows_there(tokens, first)
    assert [bool(every[CLASS]), bool(every[REST])] == [bool(there & CLASS), bool(there & REST)]
