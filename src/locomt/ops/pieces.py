"""Rectangles of tokens and heads, put into the tensors that the op takes and taken out of the one that it gives.

Only what is projected is there to be put, and only what is read is taken; each is copied once, forward and backward.
Slices and concatenations copy it once for every axis that they cut, and backward hand on zeros of the whole for every
slice, which takes as long as the projections that are saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from locomt.ops.operator import bind_once
from locomt.views.reads import Range


class Piece(NamedTuple):
    """Tokens of some heads, `[B, tokens, heads, D]`.

    Attributes:
        rows: which tokens of the whole.
        runs: which heads, neighbours together; those of several tensors are counted on.
    """

    rows: Range
    runs: tuple[Range, ...]

    @property
    def heads(self) -> int:
        return sum(last - first for first, last in self.runs)


class Places(NamedTuple):
    """Where pieces lie in tensors `[B, N, H, D]`.

    Attributes:
        pieces: rectangles that do not meet.
        gaps: those that no piece covers, one run each.
        tensors: how many tensors there are; N and H: of each.
    """

    pieces: tuple[Piece, ...]
    gaps: tuple[Piece, ...]
    tensors: int
    tokens: int
    heads: int


def put(places: Places, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors, 0 where there is no piece."""
    if torch.compiler.is_compiling():
        return _joined(places, pieces)
    return _Put.apply(places, *pieces)  # type: ignore[no-any-return]


def take(places: Places, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The pieces."""
    if torch.compiler.is_compiling():
        whole = torch.cat(list(tensors), dim=2)
        return tuple(
            torch.cat([whole[:, slice(*piece.rows), slice(*run)] for run in piece.runs], dim=2)
            for piece in places.pieces
        )
    return _Take.apply(places, *tensors)  # type: ignore[no-any-return]


def _joined(places: Places, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What `_put` does by concatenation alone, of which compilers make one copy."""
    like = pieces[0]
    every = (*places.pieces, *places.gaps)
    rows = sorted({edge for piece in every for edge in piece.rows})
    heads = {edge for piece in every for run in piece.runs for edge in run}
    columns = sorted(heads | {places.heads * n for n in range(1, places.tensors)})
    cells = {}
    for piece, tensor in zip(places.pieces, pieces, strict=True):
        at = 0
        for run in piece.runs:
            for top, bottom in _between(rows, piece.rows):
                for left, right in _between(columns, run):
                    cells[top, left] = tensor[:, top - piece.rows[0] : bottom - piece.rows[0], at : at + right - left]
                    at += right - left
                at -= run[1] - run[0]
            at += run[1] - run[0]
    found = []
    for top, bottom in _between(rows, (0, places.tokens)):
        line = []
        for left, right in _between(columns, (0, places.tensors * places.heads)):
            cell = cells.get((top, left))
            shape = (like.shape[0], bottom - top, right - left, like.shape[3])
            line.append(like.new_zeros(shape) if cell is None else cell)
        found.append(torch.cat(line, dim=2))
    return _apart(places, torch.cat(found, dim=1))


def _between(edges: Sequence[int], ends: Range) -> list[Range]:
    """The ranges that some edges cut another into."""
    own = [edge for edge in edges if ends[0] <= edge <= ends[1]]
    return list(pairwise(own))


def _put(places: Places, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
    like = pieces[0]
    whole = like.new_empty(like.shape[0], places.tokens, places.tensors * places.heads, like.shape[3])
    for piece, tensor in zip(places.pieces, pieces, strict=True):
        at = 0
        for first, last in piece.runs:
            whole[:, slice(*piece.rows), first:last].copy_(tensor[:, :, at : at + last - first])
            at += last - first
    for gap in places.gaps:
        whole[:, slice(*gap.rows), slice(*gap.runs[0])].zero_()
    return _apart(places, whole)


def _apart(places: Places, whole: Tensor) -> tuple[Tensor, ...]:
    return tuple(whole.unflatten(2, (places.tensors, places.heads)).unbind(2))


def _take(places: Places, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    like, found = tensors[0], []
    for piece in places.pieces:
        first_row, last_row = piece.rows
        tensor = like.new_empty(like.shape[0], last_row - first_row, piece.heads, like.shape[3])
        at = 0
        for run in piece.runs:
            start, end = run
            while start < end:  # a run may go from one tensor to the next
                n, first = divmod(start, places.heads)
                count = min(end - start, places.heads - first)
                part = tensors[n][:, first_row:last_row, first : first + count]
                tensor[:, :, at : at + count].copy_(part)
                start, at = start + count, at + count
        found.append(tensor)
    return tuple(found)


@bind_once
class _Put(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(places: Places, *pieces: Tensor) -> tuple[Tensor, ...]:
        return _put(places, pieces)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.places = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *_Take.apply(ctx.places, *grads)


@bind_once
class _Take(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(places: Places, *tensors: Tensor) -> tuple[Tensor, ...]:
        return _take(places, tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.places = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *_Put.apply(ctx.places, *grads)
