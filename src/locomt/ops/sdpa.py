"""The backend `sdpa`: one dense attention for each run of heads with one view and each of its query ranges.

Registered with torch as two operators, forward and backward, so that compilers see one node each, `vmap` and `grad`
compose, and the FLOP counter is told what the views cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from locomt.ops.kernels import Problem, kernel_for
from locomt.ops.padding import real_tokens, visible_keys, zero_padding
from locomt.ops.plan import Call, offsets, plan_calls, score_pairs


class _Pieces:
    """The slices of q, k, v and their bias that one call works on, and where its results go."""

    def __init__(
        self,
        call: Call,
        layout: list[int],
        lengths_BM: Tensor | None,
        self_on_missing: bool,
        dtype: torch.dtype,
    ) -> None:
        start = offsets(layout)
        self.heads = slice(*call.heads)
        self.rows = slice(start[call.queries[0]], start[call.queries[-1] + 1])
        self.bias: Tensor | None = None
        self.idle: Tensor | None = None
        keys = list(call.keys)
        if lengths_BM is not None:
            keys, visible_BK = visible_keys(call, lengths_BM, layout, self_on_missing)
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


def _unpadded(layout: list[int], lengths_BM: Tensor | None) -> bool:
    """Whether every sample is full, as far as can be told without waiting for a device."""
    return lengths_BM is None or (lengths_BM.device.type == "cpu" and bool((lengths_BM == torch.tensor(layout)).all()))


def _prepare(
    tensors: tuple[Tensor, ...],
    layout: list[int],
    masks: Sequence[int],
    lengths_BM: Tensor | None,
    self_on_missing: bool,
) -> tuple[tuple[Tensor, ...], tuple[_Pieces, ...]]:
    """The tensors, cleared where they are padding, and the pieces of the attention over them."""
    if _unpadded(layout, lengths_BM):
        return tensors, _full_pieces(tuple(layout), tuple(masks), self_on_missing)
    assert lengths_BM is not None
    lengths_BM = lengths_BM.to(tensors[0].device)
    real_BN = real_tokens(lengths_BM, layout)
    calls = plan_calls(tuple(layout), tuple(masks), self_on_missing)
    pieces = tuple(_Pieces(call, layout, lengths_BM, self_on_missing, tensors[0].dtype) for call in calls)
    return tuple(zero_padding(tensor, real_BN) for tensor in tensors), pieces


@lru_cache(maxsize=1024)
def _full_pieces(layout: tuple[int, ...], masks: tuple[int, ...], self_on_missing: bool) -> tuple[_Pieces, ...]:
    """The pieces where no sample is padded: they depend on no tensor, and launching is what small batches wait for."""
    calls = plan_calls(layout, masks, self_on_missing)
    return tuple(_Pieces(call, list(layout), None, self_on_missing, torch.float32) for call in calls)


def _token_major(like: Tensor) -> Tensor:
    """An empty `[B, H, N, D]` that lies in memory as `[B, N, H, D]`, ready for the output projection."""
    b, h, n, d = like.shape
    return like.new_empty(b, n, h, d).transpose(1, 2)


def _lse_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    scale: float,
    self_on_missing: bool,
) -> tuple[Tensor, Tensor]:
    """The output `[B, H, N, D]` and the log-sum-exp `[B, H, N]` that the backward needs."""
    (q, k, v), pieces = _prepare((q, k, v), list(layout), masks, lengths, self_on_missing)
    out, lse = _token_major(q), torch.zeros(q.shape[:3], dtype=_lse_dtype(q.dtype), device=q.device)
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
    self_on_missing: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, each written in its place."""
    dq, dk, dv = (torch.empty_like(t) for t in (q, k, v))
    (q, k, v, grad), pieces = _prepare((q, k, v, grad), list(layout), masks, lengths, self_on_missing)
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


def _fold(operator: Any, outputs: int) -> Any:
    """A vmap rule: attention is independent from sample to sample, so the mapped axis joins the batch."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        def flat(argument: Any, dim: int | None) -> Any:
            if not isinstance(argument, Tensor):
                return argument
            mapped = argument.expand(info.batch_size, *argument.shape) if dim is None else argument.movedim(dim, 0)
            return mapped.flatten(0, 1)

        results = operator(*map(flat, args, in_dims))
        return tuple(r.unflatten(0, (info.batch_size, -1)) for r in results), (0,) * outputs

    return rule


def _fake_forward(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return _token_major(q), q.new_empty(q.shape[:3], dtype=_lse_dtype(q.dtype))


def _fake_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


# torch.library.custom_op would do this in one line, but its autograd kernel refuses torch.func transforms.
_library = torch.library.Library("locomt", "DEF")
_OPTIONS = "SymInt[] layout, int[] masks, Tensor? lengths, float scale, bool self_on_missing"
for _name, _arguments, _outputs, _kernel, _fake in (
    ("sdpa_view_attention", "Tensor q, Tensor k, Tensor v", 2, _forward, _fake_forward),
    (
        "sdpa_view_attention_backward",
        "Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse",
        3,
        _backward,
        _fake_backward,
    ),
):
    _library.define(
        f"{_name}({_arguments}, {_OPTIONS}) -> ({', '.join(['Tensor'] * _outputs)})",
        tags=(torch.Tag.pt2_compliant_tag,),
    )
    _library.impl(_name, _kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"locomt::{_name}", _fake, lib=_library)
    torch.library.register_vmap(f"locomt::{_name}", _fold(getattr(torch.ops.locomt, _name), _outputs), lib=_library)


class SdpaViewAttention(torch.autograd.Function):
    """The two operators joined for autograd; returns the output and the log-sum-exp."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layout: list[int],
        masks: list[int],
        lengths: Tensor | None,
        scale: float,
        self_on_missing: bool,
    ) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = torch.ops.locomt.sdpa_view_attention(
            q, k, v, layout, masks, lengths, scale, self_on_missing
        )
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, layout, masks, lengths, scale, self_on_missing = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, *output, lengths)
        ctx.options = (layout, masks, scale, self_on_missing)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        layout, masks, scale, self_on_missing = ctx.options
        q, k, v, out, lse, lengths = ctx.saved_tensors
        grads = _Once.apply(grad, q, k, v, out, lse, layout, masks, lengths, scale, self_on_missing)
        return (*grads, None, None, None, None, None)


class _Once(torch.autograd.Function):
    """The backward operator, refusing to be differentiated: its result would silently count as a constant."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        layout: list[int],
        masks: list[int],
        lengths: Tensor | None,
        scale: float,
        self_on_missing: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        result: tuple[Tensor, Tensor, Tensor] = torch.ops.locomt.sdpa_view_attention_backward(
            grad, q, k, v, out, lse, layout, masks, lengths, scale, self_on_missing
        )
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            "view_attention's backend 'sdpa' has no second derivative; pass backend='reference' where one is needed"
        )


@register_flop_formula(torch.ops.locomt.sdpa_view_attention)
def _forward_flops(
    q_shape: Sequence[int],
    k: Any,
    v: Any,
    layout: Any,
    masks: Any,
    lengths: Any,
    scale: float,
    self_on_missing: bool,
    **_: Any,
) -> int:
    """4 B d C: two matrix products over the scores that the views need, a multiply-add counted as 2."""
    return 4 * q_shape[0] * q_shape[3] * score_pairs(layout, masks, self_on_missing)


@register_flop_formula(torch.ops.locomt.sdpa_view_attention_backward)
def _backward_flops(
    grad_shape: Sequence[int],
    q: Any,
    k: Any,
    v: Any,
    out: Any,
    lse: Any,
    layout: Any,
    masks: Any,
    lengths: Any,
    scale: float,
    self_on_missing: bool,
    **_: Any,
) -> int:
    """10 B d C: the scores once more and four products for the gradients, as torch counts dense attention."""
    return 10 * grad_shape[0] * grad_shape[3] * score_pairs(layout, masks, self_on_missing)
