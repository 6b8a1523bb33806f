"""What makes a pair of functions, an attention and its gradients, operators that torch knows.

Compilers see one node each, `vmap` and `grad` compose, and the FLOP counter is told what the views cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from locomt.views.segments import score_pairs

Attention = Callable[..., tuple[Tensor, Tensor]]
Gradients = Callable[..., tuple[Tensor, Tensor, Tensor]]
Answer = Callable[..., Tensor]

# torch.library.custom_op would do this in one line, but its autograd kernel refuses torch.func transforms.
_library = torch.library.Library("locomt", "DEF")
_OPERATORS: dict[str, tuple[Any, Any, Any]] = {}
_OPTIONS = "SymInt[] layout, int[] masks, Tensor? lengths, float scale, int own"


def register(backend: str, forward: Attention, backward: Gradients, answer: Answer | None = None) -> None:
    """Make `locomt::<backend>_view_attention` and `..._backward`, which `attend` joins for autograd.

    Args:
        backend: its name.
        forward: from q, k, v and the options (layout, masks, lengths, scale, own) to the output
            `[B, H, N, D]`, laid out as `token_major` does, and the log-sum-exp `[B, H, N]` for the backward.
        backward: from the output's gradient, q, k, v, the output, the log-sum-exp and the options to the
            gradients of q, k and v, laid out likewise.
        answer: what `forward` gives but for the log-sum-exp, where that can be had for less: `..._answer`.
    """
    name = f"{backend}_view_attention"
    operator = _define(name, "Tensor q, Tensor k, Tensor v", 2, forward, _fake_forward)
    saved = "Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse"
    gradients = _define(f"{name}_backward", saved, 3, backward, _fake_backward)
    alone = operator if answer is None else _define(f"{name}_answer", "Tensor q, Tensor k, Tensor v", 1, answer, _fake)
    _OPERATORS[backend] = operator, gradients, None if answer is None else alone
    for found in {operator, alone}:
        register_flop_formula(found)(_forward_flops)
    register_flop_formula(gradients)(_backward_flops)


def attend(backend: str, *arguments: Any) -> Tensor:
    """The output of a registered backend, differentiable; `arguments` as its forward takes them."""
    if torch.is_grad_enabled():
        return _Differentiable.apply(backend, *arguments)[0]  # type: ignore[no-any-return]
    # The same without what autograd costs, which is more than a small launch.
    forward, _, answer = _OPERATORS[backend]
    return forward(*arguments)[0] if answer is None else answer(*arguments)  # type: ignore[no-any-return]


def bind_once(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """torch inspects the signature of `forward` at every call, which takes longer than a launch, unless it is there."""
    function.forward.__signature__ = signature(function.forward)  # type: ignore[attr-defined]
    return function


def token_major(like: Tensor) -> Tensor:
    """An empty `[B, H, N, D]` that lies in memory as `[B, N, H, D]`, as projections take and leave it."""
    b, h, n, d = like.shape
    return like.new_empty(b, n, h, d).transpose(1, 2)


def lse_dtype(dtype: torch.dtype) -> torch.dtype:
    """Of the log-sum-exp of scores of `dtype`."""
    return torch.promote_types(dtype, torch.float32)


def _define(name: str, tensors: str, outputs: int, kernel: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    _library.define(
        f"{name}({tensors}, {_OPTIONS}) -> ({', '.join(['Tensor'] * outputs)})",
        tags=(torch.Tag.pt2_compliant_tag,),
    )
    _library.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"locomt::{name}", fake, lib=_library)
    operator = getattr(torch.ops.locomt, name)
    torch.library.register_vmap(f"locomt::{name}", _fold(operator, outputs), lib=_library)
    return operator


def _fake(q: Tensor, *_: Any) -> Tensor:
    return token_major(q)


def _fake_forward(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return token_major(q), q.new_empty(q.shape[:3], dtype=lse_dtype(q.dtype))


def _fake_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return token_major(q), token_major(k), token_major(v)


def _fold(operator: Any, outputs: int) -> Any:
    """A vmap rule: attention is independent from sample to sample, so the mapped axis joins the batch."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        def flat(argument: Any, dim: int | None) -> Any:
            if not isinstance(argument, Tensor):
                return argument
            mapped = argument.expand(info.batch_size, *argument.shape) if dim is None else argument.movedim(dim, 0)
            return mapped.flatten(0, 1)

        results = operator(*map(flat, args, in_dims))
        if outputs == 1:
            return results.unflatten(0, (info.batch_size, -1)), 0
        return tuple(r.unflatten(0, (info.batch_size, -1)) for r in results), (0,) * outputs

    return rule


# The parameters are spelled out: torch 2.13's Dynamo miscounts `*arguments` where one function applies another.
@bind_once
class _Differentiable(torch.autograd.Function):
    """A backend's two operators joined for autograd; gives the output and the log-sum-exp."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        backend: str,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layout: list[int],
        masks: list[int],
        lengths: Tensor | None,
        scale: float,
        own: int,
    ) -> Any:
        return _OPERATORS[backend][0](q, k, v, layout, masks, lengths, scale, own)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        backend, q, k, v, layout, masks, lengths, scale, own = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, *output, lengths)
        ctx.options = (backend, layout, masks, scale, own)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        backend, layout, masks, scale, own = ctx.options
        q, k, v, out, lse, lengths = ctx.saved_tensors
        saved = (grads[0], q, k, v, out, lse, layout, masks, lengths, scale, own)
        # Whoever differentiates again, or may, is to meet `_Once`; nobody else need pay for it.
        found = _Once.apply(backend, *saved) if torch.is_grad_enabled() else _OPERATORS[backend][1](*saved)
        return (None, *found, None, None, None, None, None)


@bind_once
class _Once(torch.autograd.Function):
    """The backward operator, refusing to be differentiated: its result would silently count as a constant."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        backend: str,
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
        own: int,
    ) -> Any:
        return _OPERATORS[backend][1](grad, q, k, v, out, lse, layout, masks, lengths, scale, own)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.backend = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            f"view_attention's backend {ctx.backend!r} has no second derivative; "
            "pass backend='reference' where one is needed"
        )


def _forward_flops(
    q_shape: Sequence[int],
    k: Any,
    v: Any,
    layout: Any,
    masks: Any,
    lengths: Any,
    scale: float,
    own: int,
    **_: Any,
) -> int:
    """4 B d C: two matrix products over the scores that the views need, a multiply-add counted as 2."""
    return 4 * q_shape[0] * q_shape[3] * score_pairs(layout, masks, own)


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
    own: int,
    **_: Any,
) -> int:
    """10 B d C: the scores once more and four products for the gradients, as torch counts dense attention."""
    return 10 * grad_shape[0] * grad_shape[3] * score_pairs(layout, masks, own)
