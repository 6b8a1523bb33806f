"""The backend `fa4`: the forward of `triton`, and FlashAttention-4's backward, called for each slice of the views.

A slice is a run of heads of one view, a range of queries and the range of keys that they see. Its kernels read it where
it lies and write its gradients in their place, each once; what no slice reads is set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from locomt.ops.fa4 import installed
from locomt.ops.operator import register, token_major
from locomt.ops.padding import unpadded
from locomt.ops.plan import Segments, head_runs, offsets, plan_calls
from locomt.ops.triton import fused
from locomt.views.reads import Range
from locomt.views.segments import score_pairs

LEAST = {64: 9e10, 128: 2.5e10}
"""FLOPs of a slice's forward pass, on the average of all, from which on it is faster, by head width. Measured on an
H200, with and without CUDA graphs (docs/performance.md): below, what Python takes for each slice eats what is gained.
"""


class Slice(NamedTuple):
    """One dense attention: ranges of heads, of its queries' tokens and of its keys'."""

    heads: Range
    rows: Range
    keys: Range


class Slices(NamedTuple):
    """An attention as dense ones.

    Attributes:
        slices: they are.
        idle_rows: heads and tokens of queries that are in none.
        idle_keys: the same of keys.
    """

    slices: tuple[Slice, ...]
    idle_rows: tuple[tuple[Range, Range], ...]
    idle_keys: tuple[tuple[Range, Range], ...]


def cut(layout: tuple[int, ...], masks: tuple[int, ...], own: int) -> Slices | None:
    """The slices; None where keys are no single range, or are seen by queries of two slices of one head."""
    start = offsets(layout)
    found: list[Slice] = []
    for call in plan_calls(layout, masks, own if 0 in layout else 0):
        first, last = call.keys[0], call.keys[-1]
        if sum(layout[j] for j in call.keys) != start[last + 1] - start[first]:
            return None
        rows = (start[call.queries[0]], start[call.queries[-1] + 1])
        found.append(Slice(call.heads, rows, (start[first], start[last + 1])))
    idle_rows, idle_keys = [], []
    for heads in head_runs(masks, len(layout)):
        mine = [some for some in found if some.heads == heads]
        keys = sorted(some.keys for some in mine)
        if any(one[1] > other[0] for one, other in pairwise(keys)):
            return None
        idle_rows += [(heads, gap) for gap in _gaps(sorted(some.rows for some in mine), start[-1])]
        idle_keys += [(heads, gap) for gap in _gaps(keys, start[-1])]
    return Slices(tuple(found), tuple(idle_rows), tuple(idle_keys))


_cut_once = lru_cache(maxsize=1024)(cut)


def _gaps(taken: Sequence[Range], end: int) -> list[Range]:
    """What ranges in ascending order leave out of all up to `end`."""
    edges = [(0, 0), *taken, (end, end)]
    return [(one[1], other[0]) for one, other in pairwise(edges) if one[1] < other[0]]


def pays(q: Tensor, parts: Segments) -> bool:
    """Whether training with this backend was measured to be faster than with `triton`, if it serves."""
    layout, masks, lengths = parts
    least = LEAST.get(q.shape[-1])
    if installed.FOUND != installed.TESTED or least is None or not (q.requires_grad and torch.is_grad_enabled()):
        return False
    if lengths is not None or torch.are_deterministic_algorithms_enabled():
        return False
    count = _count(masks, len(layout))
    if not count or 0 in layout:  # an empty modality is for `cut`
        return False
    return 4 * q.shape[0] * q.shape[-1] * score_pairs(layout, masks) >= least * count


def _count(masks: Sequence[int], segments: int) -> int:
    """How many slices `cut` gives, 0 where it gives None; in whole numbers alone, which torch.compile traces."""
    count = 0
    before: Sequence[int] = ()
    for start in range(0, len(masks), segments):
        view = masks[start : start + segments]
        if view == before:
            continue
        before, above, taken = view, 0, 0
        for mask in view:
            if mask and mask != above:
                ones = mask // (mask & -mask)
                if mask & taken or ones & (ones + 1):
                    return 0
                count += 1
                taken |= mask
            above = mask
    return count


def _slices(layout: Sequence[int], masks: Sequence[int], lengths: Tensor | None, own: int) -> Slices:
    if not unpadded(list(layout), lengths):
        raise ValueError("backend 'fa4' takes full samples, got lengths; backend='triton' takes padded ones")
    found = _cut_once(tuple(layout), tuple(masks), own)
    if found is None:
        raise ValueError(
            "backend 'fa4' takes views in which queries see one range of keys that no others of their head see; "
            "backend='triton' takes all"
        )
    return found


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    scale: float,
    own: int,
) -> tuple[Tensor, Tensor]:
    _slices(layout, masks, lengths, own)  # refused before anything is computed
    return fused.forward(q, k, v, layout, masks, lengths, scale, own)


def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    scale: float,
    own: int,
) -> tuple[Tensor, Tensor, Tensor]:
    slices, idle_rows, idle_keys = _slices(layout, masks, lengths, own)
    gradients = dq, dk, dv = token_major(q), token_major(k), token_major(v)
    for tensors, idle in (((dq,), idle_rows), ((dk, dv), idle_keys)):
        for tensor in tensors:
            for heads, tokens in idle:
                tensor[:, slice(*heads), slice(*tokens)].zero_()
    by_token = [tensor.transpose(1, 2) for tensor in (q, k, v, out, grad, dq, dk, dv)]
    backward = installed.backward()
    with torch.cuda.device_of(q):
        for heads, rows, keys in slices:
            every = [t[:, slice(*some), slice(*heads)] for t, some in zip(by_token, _ranges(rows, keys), strict=True)]
            # Natural, for the base 2 of ours; the slice is laid out as the kernels want it on the way.
            own_lse = lse[:, slice(*heads), slice(*rows)] * log(2)
            backward(
                *every[:5], own_lse, softmax_scale=scale, dq=every[5], dk=every[6], dv=every[7],
                deterministic=torch.are_deterministic_algorithms_enabled(),
            )  # fmt: skip
    return gradients


def _ranges(rows: Range, keys: Range) -> tuple[Range, ...]:
    """Of q, k, v, the output, its gradient and the gradients of q, k and v."""
    return rows, keys, keys, rows, rows, rows, keys, keys


register("fa4", _forward, _backward)
