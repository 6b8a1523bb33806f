"""What is timed: view attention by each backend, and every dense attention that it could be replaced with.

All work on the same numbers. Dense attention gets what suits it best: kernels called without anything around them,
padding taken out and masks made beforehand, none of it timed. FlashAttention-4 takes part where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import torch
from cases import Case
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import pad, scaled_dot_product_attention

from locomt import view_attention

aten = torch.ops.aten


class Contender(NamedTuple):
    """One way to compute a case.

    Attributes:
        attend: gives one output or several from `leaves`.
        leaves: q, k and v, of all samples together or of one after the other.
        grads: of the outputs.
        first: takes the first sample, `[tokens, H, D]`, out of a tensor such as the leaves.
    """

    attend: Callable[..., Any]
    leaves: Sequence[Tensor]
    grads: Tensor | Sequence[Tensor]
    first: Callable[[Tensor], Tensor] = lambda tensor: tensor[0].transpose(0, 1)

    def forward(self) -> Any:
        with torch.no_grad():
            return self.attend(*self.leaves)

    def both(self) -> tuple[Tensor, ...]:
        """Forward and backward: the gradients of the leaves."""
        return torch.autograd.grad(self.attend(*self.leaves), self.leaves, self.grads)

    def of_first_sample(self) -> list[Tensor]:
        """The output and the gradients of q, k and v."""
        out = self.attend(*self.leaves)
        gradients = torch.autograd.grad(out, self.leaves, self.grads)
        return [self.first(t.detach()) for t in (out if isinstance(out, Tensor) else out[0], *gradients[:3])]


class Batch(NamedTuple):
    """A case's numbers.

    Attributes:
        joint: `[B, N, 3, H, D]`, queries, keys and values as a joint projection leaves them.
        grad: `[B, N, H, D]`, the output's gradient as the output projection hands it back.
        lengths: `[B, m]` on the device, or None where every sample is full.
        real: `[B, N]`, which tokens are no padding.
    """

    joint: Tensor
    grad: Tensor
    lengths: Tensor | None
    real: Tensor


def draw(case: Case, device: str) -> Batch:
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    kind = {"device": device, "dtype": dtype, "generator": torch.Generator(device).manual_seed(0)}
    joint = torch.randn(case.batch, case.layout.total, 3, case.heads, case.width, **kind)
    grad = torch.randn(joint[:, :, 0].shape, **kind)
    lengths = case.lengths
    real = torch.cat([torch.arange(n) < lengths[:, i : i + 1] for i, n in enumerate(case.tokens.values())], dim=1)
    return Batch(joint, grad, lengths.to(device) if case.padded else None, real.to(device))


def view(case: Case, batch: Batch, backend: str) -> Contender:
    layout, layer = case.layout, case.layer

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return view_attention(q, k, v, layout, layer, lengths=batch.lengths, backend=backend)

    return Contender(attend, _by_head(batch.joint), batch.grad.transpose(1, 2), _real_of_first(batch))


def dense(case: Case, batch: Batch) -> dict[str, Contender]:
    return _padded(case, batch) if case.padded else _full(batch)


def _full(batch: Batch) -> dict[str, Contender]:
    leaves, grad = _by_head(batch.joint), batch.grad.transpose(1, 2)
    if not batch.joint.is_cuda:
        return {"dense": Contender(scaled_dot_product_attention, leaves, grad)}
    contenders = {"cudnn": Contender(_cudnn, leaves, grad), "flash": Contender(_flash, leaves, grad)}
    if fa4 := _flash_attention_4():
        by_token = _leaves(batch.joint.unbind(2))
        contenders["fa4-dense"] = Contender(_output_of(fa4.flash_attn_func), by_token, batch.grad, lambda t: t[0])
    return contenders


def _padded(case: Case, batch: Batch) -> dict[str, Contender]:
    """Dense attention between the real tokens: masked, sample by sample and, on CUDA, packed ("varlen")."""
    mask = _mask(batch)

    def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)

    # Nobody reads what padding queries give, so that no gradient comes back to them.
    grad = (batch.grad * batch.real[..., None, None]).transpose(1, 2)
    sizes = case.lengths.sum(dim=1).tolist()
    packed, packed_grad = batch.joint[batch.real], batch.grad[batch.real]
    each = [leaf for part in packed.split(sizes) for leaf in _by_head(part[None])]
    each_grad = [part[None].transpose(1, 2) for part in packed_grad.split(sizes)]
    contenders = {
        "masked": Contender(masked, _by_head(batch.joint), grad, _real_of_first(batch)),
        "each": Contender(_sample_by_sample, each, each_grad),
    }
    if packed.is_cuda:
        # int32 cumulative lengths, made beforehand like everything that describes the batch
        starts = pad(torch.tensor(sizes, dtype=torch.int32, device=packed.device).cumsum(0, dtype=torch.int32), (1, 0))

        def varlen(q: Tensor, k: Tensor, v: Tensor) -> Any:
            return varlen_attn(q, k, v, starts, starts, max(sizes), max(sizes))

        def of_first(tensor: Tensor) -> Tensor:
            return tensor[: sizes[0]]

        leaves = _leaves(packed.unbind(1))
        contenders["varlen"] = Contender(varlen, leaves, packed_grad, of_first)
        if fa4 := _flash_attention_4():
            lengths = {"max_seqlen_q": max(sizes), "max_seqlen_k": max(sizes)}
            attend = partial(fa4.flash_attn_varlen_func, cu_seqlens_q=starts, cu_seqlens_k=starts, **lengths)
            contenders["fa4-varlen"] = Contender(_output_of(attend), leaves, packed_grad, of_first)
    return contenders


@lru_cache
def _flash_attention_4() -> Any:
    """The package, of whatever version is installed; None where it is not, or there is no Hopper GPU."""
    try:
        return import_module("flash_attn.cute") if torch.cuda.get_device_capability()[0] == 9 else None
    except ModuleNotFoundError:
        return None


def _output_of(attend: Callable[..., Any]) -> Callable[..., Tensor]:
    """Without the log-sum-exp that it gives beside the output."""
    return lambda *leaves: attend(*leaves)[0]


def _real_of_first(batch: Batch) -> Callable[[Tensor], Tensor]:
    real = batch.real[0]
    return lambda tensor: tensor[0].transpose(0, 1)[real]


def _leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().requires_grad_() for tensor in tensors]


def _by_head(joint: Tensor) -> list[Tensor]:
    """q, k and v `[B, H, N, D]` with a joint projection's strides."""
    return _leaves([tensor.transpose(1, 2) for tensor in joint.unbind(2)])


def _mask(batch: Batch) -> Tensor:
    """0 for real keys and -inf for padding, `[B, 1, N, N]` without being stored for every query."""
    size = batch.real.shape[1]
    bias = torch.zeros(batch.real.shape, dtype=batch.joint.dtype, device=batch.joint.device)
    bias = bias.masked_fill(~batch.real, float("-inf"))
    # Rows of a multiple of 16 bytes, or the kernel would make itself a copy for every query.
    bias = pad(bias, (0, -size % 16))[:, None, None, :size]
    return bias.expand(-1, -1, size, -1)


def _sample_by_sample(*leaves: Tensor) -> list[Tensor]:
    attend = _cudnn if leaves[0].is_cuda else scaled_dot_product_attention
    return [attend(*leaves[i : i + 3]) for i in range(0, len(leaves), 3)]


# Called as operators: choosing them through torch.nn.attention.sdpa_kernel takes as long as a small batch does.
def _cudnn(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    keep_lse = torch.is_grad_enabled()
    return aten._scaled_dot_product_cudnn_attention(q, k, v, None, keep_lse, 0.0, False, False)[0]


def _flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return aten._scaled_dot_product_flash_attention(q, k, v)[0]
