"""What a layer's attention computes of its queries, keys, values and output, where not all of it is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from locomt.layout import TokenLayout
from locomt.ops.pieces import Piece, Places
from locomt.views import LayerViews
from locomt.views.reads import Range, all_head_reads, range_of, rows_there


class Cut(NamedTuple):
    """A weight or a bias cut between heads.

    Attributes:
        sizes: heads of each slice, one after the other.
        chosen: for each of some sets of heads the slices that it is made of.
    """

    sizes: tuple[int, ...]
    chosen: tuple[tuple[int, ...], ...]


class Work(NamedTuple):
    """What is computed of one layer.

    Attributes:
        parts: of every modality, what is projected to q (the first tensor), k and v; its rows are the modality's.
        before: of every modality, where the weights of its parts lie.
        joint: where that lies in q, k and v.
        outputs: of every modality the rows that are read.
        queries: those for `view_attention`; None where they are all.
        heads: of every modality the heads whose output is read, neighbours together.
        behind: of every modality, where their weights lie.
        given: where they lie in what the attention gives, of the modalities that have any.
    """

    parts: tuple[tuple[Piece, ...], ...]
    before: tuple[Cut, ...]
    joint: Places
    outputs: tuple[Range, ...]
    queries: tuple[Range, ...] | None
    heads: tuple[tuple[Range, ...], ...]
    behind: tuple[Cut, ...]
    given: Places


def work(choices: tuple[LayerViews, ...], layout: TokenLayout, outputs: tuple[Range, ...], own: int) -> Work:
    """What has to be computed for some rows of a layer's output.

    Args:
        choices: the views of the heads as they lie in the weights; several where they attend by each at once.
        layout: of the tokens that the layer is given.
        outputs: of every modality the rows that are read.
        own: as for `locomt.views.reads.head_reads`.
    """
    return (_work if torch.compiler.is_compiling() else _work_once)(choices, layout, outputs, own)


def _work(choices: tuple[LayerViews, ...], layout: TokenLayout, outputs: tuple[Range, ...], own: int) -> Work:
    sizes = list(zip(layout.lengths, layout.class_tokens.values(), strict=True))
    there = tuple(rows_there(*size) for size in sizes)
    heads = all_head_reads(choices, [last > first for first, last in outputs], there, own)
    n, h = layout.total, len(heads)
    parts, used, joint, gaps, given, unread = [], [], [], [], [], []
    for i, (size, start) in enumerate(zip(sizes, layout.offsets, strict=False)):
        queries = [outputs[i] if head.queries[i] else (0, 0) for head in heads]
        keys = [range_of(head.keys[i], *size) for head in heads]
        same = queries == keys
        mine: list[Piece] = []
        for tensors, rows_of_heads in [((0, 3), keys)] if same else [((0, 1), queries), ((1, 3), keys)]:
            runs = _runs(rows_of_heads)
            mine += _pieces(runs, tensors)
            gaps += _gaps(runs, tensors, start, size[0])
        parts.append(tuple(mine))
        joint += [_moved(piece, start) for piece in mine]
        taken = _runs(queries)
        pieces = _pieces(taken, (0, 1))
        used.append(pieces[0].runs if pieces else ())
        given += [_moved(piece, start) for piece in pieces]
        unread += _gaps(taken, (0, 1), start, size[0])
    whole = all(rows == (0, tokens) for rows, tokens in zip(outputs, layout.lengths, strict=True))
    return Work(
        tuple(parts),
        tuple(_cut_of([_counted_on(piece, h) for piece in mine], 3 * h) for mine in parts),
        Places(tuple(joint), tuple(gaps), 3, n, h),
        outputs,
        None if whole else outputs,
        tuple(used),
        tuple(_cut_of([runs], h) for runs in used),
        Places(tuple(given), tuple(unread), 1, n, h),
    )


_work_once = lru_cache(maxsize=1024)(_work)


def _runs(rows: Sequence[Range]) -> list[tuple[Range, Range]]:
    """The rows that neighbouring heads have in common, and which heads those are."""
    found, head = [], 0
    for own, group in groupby(rows):
        found.append((own, (head, head := head + len(list(group)))))
    return found


def _pieces(runs: Sequence[tuple[Range, Range]], tensors: Range) -> list[Piece]:
    """One for each set of rows."""
    every: list[Range] = []
    for rows, _ in runs:  # no set: see `locomt.ops.plan.ascending`
        if rows not in ((0, 0), *every):
            every.append(rows)
    return [Piece(rows, tensors, tuple(run for own, run in runs if own == rows)) for rows in every]


def _gaps(runs: Sequence[tuple[Range, Range]], tensors: Range, start: int, tokens: int) -> list[Piece]:
    """What is left of a modality's tokens beside those rows."""
    sides = [(side, run) for (first, last), run in runs for side in ((0, first), (last, tokens)) if side[1] > side[0]]
    return [_moved(Piece(side, tensors, (run,)), start) for side, run in sides]


def _moved(piece: Piece, start: int) -> Piece:
    return piece._replace(rows=(piece.rows[0] + start, piece.rows[1] + start))


def _counted_on(piece: Piece, heads: int) -> tuple[Range, ...]:
    """Its heads among those of all tensors, one tensor's after the other's."""
    runs: list[Range] = []
    for first, last in (
        (heads * n + first, heads * n + last) for n in range(*piece.tensors) for first, last in piece.runs
    ):
        if runs and runs[-1][1] == first:
            runs[-1] = runs[-1][0], last
        else:
            runs.append((first, last))
    return tuple(runs)


def rows_of(x: Tensor, rows: Range) -> Tensor:
    """Those of `[B, L, D]`."""
    if rows[0] == rows[1]:  # no slice, which would keep all of it in memory
        return x.new_empty(x.shape[0], 0, x.shape[2])
    return x if rows == (0, x.shape[1]) else x[:, slice(*rows)]


def _cut_of(runs: Sequence[Sequence[Range]], heads: int) -> Cut:
    """Between disjoint sets of heads, of each the neighbours together, out of so many."""
    edges = sorted({0, heads, *(edge for own in runs for run in own for edge in run)})
    chosen = (tuple(n for first, last in own for n in range(edges.index(first), edges.index(last))) for own in runs)
    return Cut(tuple(end - start for start, end in pairwise(edges)), tuple(chosen))


def _of_heads(tensor: Tensor, cut: Cut, axis: int) -> list[Tensor]:
    """What is each set's."""
    if len(cut.sizes) == 1 and cut.chosen == ((0,),):
        return [tensor]
    width = tensor.shape[axis] // sum(cut.sizes)
    # Split, for the gradients of slices would be added up, each as large as the whole.
    slices = torch.split_with_sizes(tensor, [width * size for size in cut.sizes], axis)
    found = []
    for own in cut.chosen:
        some = [slices[n] for n in own]
        found.append(torch.cat(some, axis) if len(some) > 1 else some[0] if some else tensor.narrow(axis, 0, 0))
    return found


def _plain(module: nn.Module) -> bool:
    """Whether its weights can be taken apart. What quantises or adapts a linear layer is asked as it is."""
    if type(module) is not nn.Linear:
        return False
    return torch.compiler.is_compiling() or not is_traceable_wrapper_subclass(module.weight)


def projected(x: Tensor, module: nn.Module, parts: Sequence[Piece], cut: Cut) -> list[Tensor]:
    """q, k and v of one modality, `[B, rows, tensors, heads, D]` of each part."""
    if not parts:
        return []
    if _plain(module):
        assert isinstance(module, nn.Linear)
        weights, biases = _of_heads(module.weight, cut, 0), _of_heads(module.bias, cut, 0)
        each = zip(parts, weights, biases, strict=True)
        found = [linear(rows_of(x, part.rows), weight, bias) for part, weight, bias in each]
    else:
        found = [_of_heads(module(rows_of(x, part.rows)), cut, 2)[n] for n, part in enumerate(parts)]
    width = 3 * x.shape[2] // sum(cut.sizes)
    return [
        own.unflatten(2, (part.tensors[1] - part.tensors[0], -1, width)) for own, part in zip(found, parts, strict=True)
    ]


def output(attended: Tensor, module: nn.Module, cut: Cut) -> Tensor:
    """The output of one modality, `[B, rows, dim]`, from the heads that give it anything, `[B, rows, 1, heads, D]`."""
    if not _plain(module):
        return module(_among_others(attended.flatten(2), cut, attended.shape[4]))  # type: ignore[no-any-return]
    assert isinstance(module, nn.Linear)
    (weight,) = _of_heads(module.weight, cut, 1)
    return linear(attended.flatten(2), weight, module.bias)


def _among_others(attended: Tensor, cut: Cut, width: int) -> Tensor:
    """What some heads give, with zeros of the others."""
    (chosen,) = cut.chosen
    own = iter(attended.split([width * cut.sizes[n] for n in chosen], dim=2))
    zeros = [
        None if n in chosen else attended.new_zeros(*attended.shape[:2], width * size)
        for n, size in enumerate(cut.sizes)
    ]
    return torch.cat([next(own) if blank is None else blank for blank in zeros], dim=2)
