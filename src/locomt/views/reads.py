"""Which rows of every layer are read by anything later, as plain data: what nobody reads need not be computed.

A *row* is a token's place in what a layer is given or gives. Those of a modality are its class tokens, which come
first, and the rest; a set of them is a whole number, the sum of `CLASS` and `REST`. The model, the cost formulas and
the search all ask here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

from locomt.views.kinds import Part
from locomt.views.table import LayerViews
from locomt.views.view import View

NONE, CLASS, REST, ALL = range(4)
SEEN = {Part.NOTHING: NONE, Part.CLASS: CLASS, Part.ALL: ALL}
MOST_SPLIT = 15
"""Modalities whose class tokens are told from the rest: kernels tell 31 segments of tokens apart. Of more of them, all
rows count as read or none."""

Rows = tuple[int, ...]
"""A set of rows of every modality."""
Range = tuple[int, int]
"""The first row and the one behind the last."""


class HeadReads(NamedTuple):
    """What is read of one head.

    Attributes:
        queries: for every modality whether its queries are: of those rows of its output that are.
        keys: the rows of every modality whose keys and values are.
    """

    queries: tuple[bool, ...]
    keys: Rows


class LayerReads(NamedTuple):
    """What is read of one layer.

    Attributes:
        inputs: the rows of what it is given.
        outputs: the rows of what it gives.
        heads: in the order of the table.
    """

    inputs: Rows
    outputs: Rows
    heads: tuple[HeadReads, ...]


class BottleneckReads(NamedTuple):
    """What is read of one layer of MBT, in which all of a modality's tokens are seen by each of its queries.

    Attributes:
        inputs: the rows of what it is given.
        outputs: the rows of what it gives.
        bottlenecks: whether the updates of the bottlenecks are.
    """

    inputs: Rows
    outputs: Rows
    bottlenecks: bool


def rows_there(tokens: int, class_tokens: int) -> int:
    """The rows of so many tokens."""
    return (CLASS if tokens else NONE) | (REST if tokens > class_tokens else NONE)


def range_of(rows: int, tokens: int, class_tokens: int) -> Range:
    """Where a set of rows lies in a modality of so many tokens."""
    first = tokens if tokens < class_tokens else class_tokens  # no `min`: see `locomt.views.segments.split`
    return ((0, 0), (0, first), (first, tokens), (0, tokens))[rows]


def head_reads(view: View, names: Sequence[str], wanted: Sequence[bool], there: Sequence[bool], own: int) -> HeadReads:
    """What is read of a head of which some modalities' queries are wanted.

    Args:
        view: of the head.
        names: of the modalities.
        wanted: for each whether its queries are, if they see anything.
        there: for each whether there are tokens of it.
        own: 1 where queries whose keys are all missing from the batch see their own modality instead, 2 where those of
            a sample may be missing too; 0 where they see nothing.
    """
    queries, keys = [False] * len(names), [NONE] * len(names)
    for i, query in enumerate(names):
        if not (wanted[i] and there[i]):
            continue
        looks = [SEEN[view.part(query, key)] for key in names]
        seen = [rows if here else NONE for rows, here in zip(looks, there, strict=True)]
        if own and any(looks) and not seen[i] and (own == 2 or not any(seen)):
            seen[i] = ALL
        queries[i] = any(seen)
        keys = [before | rows for before, rows in zip(keys, seen, strict=True)]
    return HeadReads(tuple(queries), tuple(keys))


def all_head_reads(
    choices: Sequence[LayerViews], wanted: Sequence[bool], there: Rows, own: int
) -> tuple[HeadReads, ...]:
    """What is read of every head of a layer.

    Args:
        choices: the views of the layer; several where each head attends by those of each at once.
        wanted, own: as for `head_reads`.
        there: the rows that there are.
    """
    names, present = choices[0].modalities, tuple(map(bool, there))
    views = {view for layer in choices for view in layer.heads}
    by_view = {view: head_reads(view, names, wanted, present, own) for view in views}
    found = []
    for held in zip(*(layer.heads for layer in choices), strict=True):
        reads = [by_view[view] for view in held]
        queries = (any(read.queries[i] for read in reads) for i in range(len(names)))
        keys = (reduce(or_, (read.keys[i] for read in reads)) & here for i, here in enumerate(there))
        found.append(HeadReads(tuple(queries), tuple(keys)))
    return tuple(found)


def layer_reads(choices: Sequence[LayerViews], outputs: Rows, there: Rows, own: int) -> LayerReads:
    """What is read of a layer of which some outputs are, all of them rows that are there; see `all_head_reads`."""
    outputs = _split(outputs, there)
    heads = all_head_reads(choices, tuple(map(bool, outputs)), there, own)
    keys = (reduce(or_, (head.keys[i] for head in heads)) for i in range(len(there)))
    return LayerReads(_split(tuple(map(or_, outputs, keys)), there), outputs, heads)


def _split(rows: Rows, there: Rows) -> Rows:
    if len(there) <= MOST_SPLIT:
        return rows
    return tuple(here if some else NONE for some, here in zip(rows, there, strict=True))


def table_reads(
    choices: Sequence[Sequence[LayerViews]], answer: Rows, there: Rows, own: int = 0
) -> tuple[LayerReads, ...]:
    """What is read of every layer, from the lowest up.

    Args:
        choices: of every layer, as for `layer_reads`.
        answer: the rows behind the topmost layer that the head reads.
        there: the rows that there are.
        own: as for `head_reads`.
    """
    found: list[LayerReads] = []
    outputs = tuple(map(and_, answer, there))
    for layer in reversed(choices):
        found.append(layer_reads(layer, outputs, there, own))
        outputs = found[-1].inputs
    return tuple(reversed(found))


def bottleneck_reads(layers: int, answer: Rows, there: Rows) -> tuple[BottleneckReads, ...]:
    """What is read of every layer of MBT, from the lowest up; arguments as for `table_reads`."""
    found: list[BottleneckReads] = []
    outputs = tuple(map(and_, answer, there))
    for layer in reversed(range(layers)):
        bottlenecks = layer < layers - 1 and any(outputs)
        inputs = tuple(here if rows or bottlenecks else NONE for rows, here in zip(outputs, there, strict=True))
        found.append(BottleneckReads(inputs, outputs, bottlenecks))
        outputs = inputs
    return tuple(reversed(found))


def everything(heads: int, there: Rows) -> LayerReads:
    """All rows of a layer, as if each were read."""
    return LayerReads(there, there, (HeadReads(tuple(map(bool, there)), there),) * heads)
