"""Rectangles of tokens and heads, put into the tensors that the op takes and taken out of the one that it gives.

Only what is projected is there to be put, and only what is read is taken; each is copied once, forward and backward.
Slices and concatenations copy it once for every axis that they cut, and backward hand on zeros of the whole for every
slice, which takes as long as the projections that are saved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from locomt.ops.plan import ascending
from locomt.views.reads import Range

SMALL = 2**18
"""Numbers that are cleared all at once: below, it is launches that take time."""


class Piece(NamedTuple):
    """Tokens of some heads of one or more tensors, `[B, tokens, tensors, heads, D]`.

    Attributes:
        rows: which tokens.
        tensors: which tensors.
        runs: which heads of each, neighbours together.
    """

    rows: Range
    tensors: Range
    runs: tuple[Range, ...]


class Places(NamedTuple):
    """Where pieces lie in tensors `[B, N, H, D]`.

    Attributes:
        pieces: rectangles that do not meet.
        gaps: those that no piece covers, one run each.
        tensors: how many tensors there are.
        tokens: N.
        heads: H.
    """

    pieces: tuple[Piece, ...]
    gaps: tuple[Piece, ...]
    tensors: int
    tokens: int
    heads: int


def put(places: Places, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors, 0 where there is no piece."""
    if _traced():
        return _joined(places, pieces)
    if torch.is_grad_enabled():
        return _Put.apply(places, *pieces)  # type: ignore[no-any-return]
    return _put(places, pieces)


def take(places: Places, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The pieces."""
    if torch.is_grad_enabled() and not _traced():
        return _Take.apply(places, *tensors)  # type: ignore[no-any-return]
    return _take(places, tensors)


def _traced() -> bool:
    """Where plain operators are wanted: a compiler makes one copy of them, and `vmap` and `grad` know what they are."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def _joined(places: Places, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What `_put` does by concatenation alone."""
    like = pieces[0]
    every = (*places.pieces, *places.gaps)
    rows = ascending(edge for piece in every for edge in piece.rows)
    heads = sorted({0, places.heads, *(edge for piece in every for run in piece.runs for edge in run)})
    cells = {}
    for piece, tensor in zip(places.pieces, pieces, strict=True):
        first_row = piece.rows[0]
        for n, t in enumerate(range(*piece.tensors)):
            for top, bottom in _between(rows, piece.rows):
                at = 0
                for left, right in (cell for run in piece.runs for cell in _between(heads, run)):
                    own = tensor[:, top - first_row : bottom - first_row, n, at : at + right - left]
                    cells[t, rows.index(top), left] = own
                    at += right - left
    found = []
    for t in range(places.tensors):
        lines = []
        for top, bottom in _between(rows, (0, places.tokens)):
            line = []
            for left, right in _between(heads, (0, places.heads)):
                cell = cells.get((t, rows.index(top), left))
                shape = (like.shape[0], bottom - top, right - left, like.shape[-1])
                line.append(like.new_zeros(shape) if cell is None else cell)
            lines.append(torch.cat(line, dim=2))
        found.append(torch.cat(lines, dim=1))
    return tuple(found)


def _between(edges: Sequence[int], ends: Range) -> list[Range]:
    """The ranges that some edges cut another into."""
    own = [edge for edge in edges if ends[0] <= edge <= ends[1]]
    return list(pairwise(own))


def _put(places: Places, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
    like = pieces[0]
    shape = (like.shape[0], places.tokens, places.tensors, places.heads, like.shape[-1])
    small = math.prod(shape) < SMALL
    whole = like.new_zeros(shape) if small else like.new_empty(shape)
    for ((top, bottom), (start, end), runs), tensor in zip(places.pieces, pieces, strict=True):
        at = 0
        for first, last in runs:
            whole[:, top:bottom, start:end, first:last].copy_(tensor[:, :, :, at : at + last - first])
            at += last - first
    for (top, bottom), (start, end), ((first, last),) in () if small else places.gaps:
        whole[:, top:bottom, start:end, first:last].zero_()
    return tuple(whole.unbind(2))


def _take(places: Places, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    found = []
    for (top, bottom), (start, end), runs in places.pieces:
        parts = [tensors[n][:, top:bottom, first:last] for n in range(start, end) for first, last in runs]
        piece = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0].clone(memory_format=torch.contiguous_format)
        found.append(piece.unflatten(2, (end - start, -1)))
    return tuple(found)


class _Put(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, places: Places, *pieces: Tensor) -> tuple[Tensor, ...]:
        ctx.places = places
        return _put(places, pieces)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *_Take.apply(ctx.places, *grads)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, places: Places, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.places = places
        return _take(places, tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *_Put.apply(ctx.places, *grads)
