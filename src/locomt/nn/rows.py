"""What a layer's attention computes of its queries, keys, values and output, where not all of it is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from locomt.layout import TokenLayout
from locomt.ops.pieces import Piece, Places
from locomt.views import LayerViews
from locomt.views.reads import Range, all_head_reads, range_of, rows_there


class Part(NamedTuple):
    """Rows of a modality that are projected alike.

    Attributes:
        rows: which of its tokens.
        runs: of which heads, neighbours together; q's, then k's, then v's.
    """

    rows: Range
    runs: tuple[Range, ...]


class Work(NamedTuple):
    """What is computed of one layer.

    Attributes:
        parts: of every modality, what is projected before the attention.
        joint: where that lies in q, k and v.
        outputs: of every modality the rows that are read.
        queries: those for `view_attention`; None where they are all.
        heads: of every modality the heads whose output is read, neighbours together.
        given: where they lie in what the attention gives, of the modalities that have any.
    """

    parts: tuple[tuple[Part, ...], ...]
    joint: Places
    outputs: tuple[Range, ...]
    queries: tuple[Range, ...] | None
    heads: tuple[tuple[Range, ...], ...]
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
    parts, used, joint, gaps, given, unread = [], [], [], [], [], []
    for i, (size, start) in enumerate(zip(sizes, layout.offsets, strict=False)):
        queries = [outputs[i] if head.queries[i] else (0, 0) for head in heads]
        keys = [range_of(head.keys[i], *size) for head in heads]
        projected = _runs([*queries, *keys, *keys])
        by_rows = {rows: tuple(run for own_rows, run in projected if own_rows == rows) for rows, _ in projected}
        parts.append(tuple(Part(*part) for part in by_rows.items() if part[0] != (0, 0)))
        joint += [Piece(_moved(part.rows, start), part.runs) for part in parts[-1]]
        gaps += _gaps(projected, start, size[0])
        taken = _runs(queries)
        used.append(tuple(run for rows, run in taken if rows != (0, 0)))
        if used[-1]:
            given.append(Piece(_moved(outputs[i], start), used[-1]))
        unread += _gaps(taken, start, size[0])
    n, h = layout.total, len(heads)
    whole = all(rows == (0, tokens) for rows, tokens in zip(outputs, layout.lengths, strict=True))
    return Work(
        tuple(parts),
        Places(tuple(joint), tuple(gaps), 3, n, h),
        outputs,
        None if whole else outputs,
        tuple(used),
        Places(tuple(given), tuple(unread), 1, n, h),
    )


_work_once = lru_cache(maxsize=1024)(_work)


def _runs(rows: Sequence[Range]) -> list[tuple[Range, Range]]:
    """The rows that neighbouring heads have in common, and which heads those are."""
    found, head = [], 0
    for own, group in groupby(rows):
        found.append((own, (head, head := head + len(list(group)))))
    return found


def _moved(rows: Range, start: int) -> Range:
    return rows[0] + start, rows[1] + start


def _gaps(runs: Sequence[tuple[Range, Range]], start: int, tokens: int) -> list[Piece]:
    """What is left of a modality's tokens beside those rows."""
    sides = [(side, run) for (first, last), run in runs for side in ((0, first), (last, tokens)) if side[1] > side[0]]
    return [Piece(_moved(side, start), (run,)) for side, run in sides]


def rows_of(x: Tensor, rows: Range) -> Tensor:
    """Those of `[B, L, D]`."""
    return x if rows == (0, x.shape[1]) else x[:, slice(*rows)]


def _of_heads(tensor: Tensor, runs: Sequence[Sequence[Range]], heads: int, axis: int) -> list[Tensor]:
    """For each of some disjoint sets of heads, the slices of a weight or a bias that are theirs.

    Args:
        tensor: of which every head has as much along the axis.
        runs: of every set the heads, neighbours together.
        heads: how many there are in all.
        axis: see above.
    """
    edges = sorted({0, heads, *(edge for own in runs for run in own for edge in run)})
    width = tensor.shape[axis] // heads
    # Split, for the gradients of slices would be added up, each as large as the whole.
    cut = tensor.split([width * (end - start) for start, end in pairwise(edges)], axis)
    found = []
    for own in runs:
        some = [cut[n] for first, last in own for n in range(edges.index(first), edges.index(last))]
        found.append(torch.cat(some, axis) if len(some) > 1 else some[0] if some else tensor.narrow(axis, 0, 0))
    return found


def _plain(module: nn.Module) -> bool:
    """Whether its weights can be taken apart. What quantises or adapts a linear layer is asked as it is."""
    return type(module) is nn.Linear and type(module.weight) is nn.Parameter


def projected(x: Tensor, module: nn.Module, parts: Sequence[Part], heads: int) -> list[Tensor]:
    """q, k and v of one modality, `[B, rows, heads of the part, D]`."""
    width = x.shape[-1] // heads
    if not _plain(module):
        whole = [module(rows_of(x, part.rows)).unflatten(2, (-1, width)) for part in parts]
        return [
            torch.cat([some[:, :, slice(*run)] for run in part.runs], dim=2)
            for some, part in zip(whole, parts, strict=True)
        ]
    assert isinstance(module, nn.Linear)
    if not parts:
        return []
    runs = [part.runs for part in parts]
    weights, biases = (_of_heads(tensor, runs, 3 * heads, 0) for tensor in (module.weight, module.bias))
    found = []
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        found.append(linear(rows_of(x, part.rows), weight, bias).unflatten(2, (-1, width)))
    return found


def output(attended: Tensor, module: nn.Module, runs: Sequence[Range], heads: int) -> Tensor:
    """The output of one modality, `[B, rows, dim]`, from the heads that give it anything, `[B, rows, heads, D]`."""
    if list(runs) == [(0, heads)]:
        return module(attended.flatten(2))  # type: ignore[no-any-return]
    if not _plain(module):
        b, rows, _, width = attended.shape
        whole, done = attended.new_zeros(b, rows, heads, width), 0
        for first, last in runs:
            whole[:, :, first:last] = attended[:, :, done : (done := done + last - first)]
        return module(whole.flatten(2))  # type: ignore[no-any-return]
    assert isinstance(module, nn.Linear)
    (weight,) = _of_heads(module.weight, [runs], heads, 1)
    return linear(attended.flatten(2), weight, module.bias)
