"""The backend `sdpa`: a few calls of torch's dense attention, one for each range of queries that sees the same keys.

On a CPU and where there are few tokens, a call takes longer than what the views save: one call with a mask serves then.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from locomt.ops.operator import lse_dtype, register, token_major
from locomt.ops.sdpa.dense import Problem, kernel_for
from locomt.ops.sdpa.parts import Part, divided


def _solve(part: Part, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """A part's output, cleared where a query sees nothing or is padding, and the log-sum-exp."""
    kernel = kernel_for(q, part.bias is not None)
    out, lse = kernel.forward(Problem(part.rows_of(q), part.keys_of(k), part.keys_of(v), part.bias, scale))
    return out if part.idle is None else out.masked_fill_(part.idle, 0), lse


def _answer(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    scale: float,
    own: int,
) -> Tensor:
    """The output `[B, H, N, D]`, where nobody asks for gradients."""
    found = divided(q, list(layout), tuple(masks), lengths, own)
    k, v = found.clear(k), found.clear(v)  # what padding gives is cleared, so that queries may be anything there
    if found.one is not None and q.device.type == "cpu":
        return _solve(found.one, q, k, v, scale)[0]  # it lies in memory as it should already
    out = found.blank(token_major(q))
    for part in found.parts:
        part.put(out, _solve(part, q, k, v, scale)[0])
    return out


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
    found = divided(q, list(layout), tuple(masks), lengths, own)
    q, k, v = (found.clear(tensor) for tensor in (q, k, v))
    lse = found.blank(q.new_empty(q.shape[:3], dtype=lse_dtype(q.dtype)))
    if found.one is not None and q.device.type == "cpu":
        out, own_lse = _solve(found.one, q, k, v, scale)
        return out, lse.copy_(own_lse)
    out = found.blank(token_major(q))
    for part in found.parts:
        own_out, own_lse = _solve(part, q, k, v, scale)
        part.put(out, own_out)
        part.put(lse, own_lse)
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
    found = divided(q, list(layout), tuple(masks), lengths, own)
    dq, dk, dv = found.blank(token_major(q)), token_major(k), token_major(v)
    q, k, v, grad = (found.clear(tensor) for tensor in (q, k, v, grad))
    for d in (dk, dv):
        if not (found.once and found.all_keys):
            d.zero_()
    for part in found.parts:
        own_grad = part.rows_of(grad)
        own_dq, own_dk, own_dv = kernel_for(q, part.bias is not None).backward(
            own_grad if part.idle is None else own_grad.masked_fill(part.idle, 0),
            Problem(part.rows_of(q), part.keys_of(k), part.keys_of(v), part.bias, scale),
            part.rows_of(out),
            part.rows_of(lse),
        )
        part.put(dq, own_dq)
        part.put_keys(dk, own_dk, add=not found.once)
        part.put_keys(dv, own_dv, add=not found.once)
    return dq, dk, dv


register("sdpa", _forward, _backward, _answer)
