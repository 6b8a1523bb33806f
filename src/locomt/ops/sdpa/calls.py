"""The backend `sdpa`: one dense attention for each run of heads with one view and each of its query ranges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from locomt.ops.operator import lse_dtype, register, token_major
from locomt.ops.padding import real_tokens, unpadded, visible_keys, zero_padding
from locomt.ops.plan import Call, offsets, plan_calls
from locomt.ops.sdpa.dense import Problem, kernel_for


class _Pieces:
    """The slices of q, k, v and their bias that one call works on, and where its results go."""

    def __init__(
        self,
        call: Call,
        layout: list[int],
        lengths_BM: Tensor | None,
        own: int,
        dtype: torch.dtype,
    ) -> None:
        start = offsets(layout)
        self.heads = slice(*call.heads)
        self.rows = slice(start[call.queries[0]], start[call.queries[-1] + 1])
        self.bias: Tensor | None = None
        self.idle: Tensor | None = None
        keys = list(call.keys)
        if lengths_BM is not None:
            keys, visible_BK = visible_keys(call, lengths_BM, layout, own)
            # Where a sample has none of the keys, all weights are equal instead of 0/0, and the rows are cleared.
            none_B1 = ~visible_BK.any(dim=1, keepdim=True)
            bias_BK = torch.zeros_like(visible_BK, dtype=dtype).masked_fill(~(visible_BK | none_B1), float("-inf"))
            rows = self.rows.stop - self.rows.start
            self.bias = bias_BK[:, None, None, :].expand(-1, 1, rows, -1)
            self.idle = (none_B1 | ~real_tokens(lengths_BM, layout)[:, self.rows])[:, None, :, None]
        self.ranges = [slice(start[j], start[j + 1]) for j in keys]

    def take_rows(self, tensor: Tensor) -> Tensor:
        return tensor[:, self.heads, self.rows]

    def take_keys(self, tensor: Tensor) -> Tensor:
        first, last = self.ranges[0], self.ranges[-1]
        if all(a.stop == b.start for a, b in zip(self.ranges, self.ranges[1:], strict=False)):
            return tensor[:, self.heads, first.start : last.stop]
        return torch.cat([tensor[:, self.heads, keys] for keys in self.ranges], dim=2)

    def problem(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Problem:
        return Problem(self.take_rows(q), self.take_keys(k), self.take_keys(v), self.bias, scale)


def _prepare(
    tensors: tuple[Tensor, ...],
    layout: list[int],
    masks: Sequence[int],
    lengths_BM: Tensor | None,
    own: int,
) -> tuple[tuple[Tensor, ...], tuple[_Pieces, ...]]:
    """The tensors, cleared where they are padding, and the pieces of the attention over them."""
    if unpadded(layout, lengths_BM):
        return tensors, _full_pieces(tuple(layout), tuple(masks), own)
    assert lengths_BM is not None
    lengths_BM = lengths_BM.to(tensors[0].device)
    real_BN = real_tokens(lengths_BM, layout)
    calls = plan_calls(tuple(layout), tuple(masks), own)
    pieces = tuple(_Pieces(call, layout, lengths_BM, own, tensors[0].dtype) for call in calls)
    return tuple(zero_padding(tensor, real_BN) for tensor in tensors), pieces


@lru_cache(maxsize=1024)
def _full_pieces(layout: tuple[int, ...], masks: tuple[int, ...], own: int) -> tuple[_Pieces, ...]:
    """The pieces where no sample is padded: they depend on no tensor, and launching is what small batches wait for."""
    calls = plan_calls(layout, masks, own)
    return tuple(_Pieces(call, list(layout), None, own, torch.float32) for call in calls)


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
    """The output `[B, H, N, D]` and the log-sum-exp `[B, H, N]` that the backward needs."""
    (q, k, v), pieces = _prepare((q, k, v), list(layout), masks, lengths, own)
    out, lse = token_major(q), torch.zeros(q.shape[:3], dtype=lse_dtype(q.dtype), device=q.device)
    _clear_unwritten(out, [(p.heads, p.rows) for p in pieces])
    for p in pieces:
        part, part_lse = kernel_for(q, p.bias is not None).forward(p.problem(q, k, v, scale))
        p.take_rows(out).copy_(part if p.idle is None else part.masked_fill(p.idle, 0))
        p.take_rows(lse).copy_(part_lse)
    return out, lse


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
    """The gradients of q, k and v, each written in its place."""
    dq, dk, dv = (token_major(t) for t in (q, k, v))
    (q, k, v, grad), pieces = _prepare((q, k, v, grad), list(layout), masks, lengths, own)
    _clear_unwritten(dq, [(p.heads, p.rows) for p in pieces])
    keys = [(p.heads, r) for p in pieces for r in p.ranges]
    cells = [(head, r.start) for heads, r in keys for head in range(heads.start, heads.stop)]
    once = len(set(cells)) == len(cells)  # no key of any head is seen from two calls
    for d in (dk, dv):
        _clear_unwritten(d, keys if once else [])
    for p in pieces:
        part = p.take_rows(grad)
        part_dq, part_dk, part_dv = kernel_for(q, p.bias is not None).backward(
            part if p.idle is None else part.masked_fill(p.idle, 0),
            p.problem(q, k, v, scale),
            p.take_rows(out),
            p.take_rows(lse),
        )
        p.take_rows(dq).copy_(part_dq)
        sizes = [r.stop - r.start for r in p.ranges]
        for whole, part_d in ((dk, part_dk), (dv, part_dv)):
            for keys_range, piece in zip(p.ranges, part_d.split(sizes, dim=2), strict=True):
                target = whole[:, p.heads, keys_range]
                target.copy_(piece) if once else target.add_(piece)
    return dq, dk, dv


def _clear_unwritten(tensor: Tensor, written: list[tuple[slice, slice]]) -> None:
    """Zero the tensor unless the disjoint (heads, tokens) rectangles in `written` cover it."""
    area = sum((heads.stop - heads.start) * (rows.stop - rows.start) for heads, rows in written)
    if area != tensor.shape[1] * tensor.shape[2]:
        tensor.zero_()


register("sdpa", _forward, _backward)
