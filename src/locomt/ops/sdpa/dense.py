"""torch's fused dense attention kernels, forward and backward called by hand.

Going through autograd would hand back a zero-filled gradient of the whole q, k or v for every slice and then add
them all up, which costs more than the attention itself; called by hand, each gradient is written once, in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

aten = torch.ops.aten


class Problem(NamedTuple):
    """Dense attention of q `[B, H, Q, D]` over k, v `[B, H, K, D]`, with an additive bias `[B, 1, Q, K]` or none."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor | None
    scale: float


Gradients = tuple[Tensor, Tensor, Tensor]


class Kernel(NamedTuple):
    """A fused kernel.

    Attributes:
        forward: gives the output and the log-sum-exp of the scores, `[B, H, Q]` in float32 (float64 for float64).
        backward: from the output's gradient, the problem, the output and the log-sum-exp, those of q, k and v.
    """

    forward: Callable[[Problem], tuple[Tensor, Tensor]]
    backward: Callable[[Tensor, Problem, Tensor, Tensor], Gradients]


def _cpu_forward(p: Problem) -> tuple[Tensor, Tensor]:
    out, lse = aten._scaled_dot_product_flash_attention_for_cpu(p.q, p.k, p.v, attn_mask=p.bias, scale=p.scale)
    return out, lse


def _cpu_backward(grad: Tensor, p: Problem, out: Tensor, lse: Tensor) -> Gradients:
    backward = aten._scaled_dot_product_flash_attention_for_cpu_backward
    dq, dk, dv = backward(grad, p.q, p.k, p.v, out, lse, 0.0, False, attn_mask=p.bias, scale=p.scale)
    return dq, dk, dv


def _cudnn_forward(p: Problem) -> tuple[Tensor, Tensor]:
    assert p.bias is None
    forward = aten._scaled_dot_product_cudnn_attention
    out, lse, *_ = forward(p.q, p.k, p.v, None, True, 0.0, False, False, scale=p.scale)
    return out, lse.reshape(p.q.shape[:3])


def _cudnn_backward(grad: Tensor, p: Problem, out: Tensor, lse: Tensor) -> Gradients:
    seed = torch.empty((), dtype=torch.int64, device=grad.device)  # dropout's; there is none
    lengths = (p.q.shape[2], p.k.shape[2])
    lse = lse[..., None].contiguous()
    backward = aten._scaled_dot_product_cudnn_attention_backward
    dq, dk, dv = backward(
        grad, p.q, p.k, p.v, out, lse, seed, seed, None, None, None, *lengths, 0.0, False, scale=p.scale
    )
    return dq, dk, dv


def _efficient_forward(p: Problem) -> tuple[Tensor, Tensor]:
    forward = aten._scaled_dot_product_efficient_attention
    out, lse, *_ = forward(p.q, p.k, p.v, _aligned_bias(p), True, 0.0, False, scale=p.scale)
    return out, lse[..., : p.q.shape[2]]


def _efficient_backward(grad: Tensor, p: Problem, out: Tensor, lse: Tensor) -> Gradients:
    # In half precision the kernel reads `out` as a contiguous [B, Q, H, D], whatever its strides say.
    out = out.transpose(1, 2).contiguous().transpose(1, 2)
    # It wants the rows of the log-sum-exp padded to a multiple of 32, and infinity there.
    lse = torch.nn.functional.pad(lse, (0, -lse.shape[-1] % 32), value=float("inf"))
    seed = torch.empty((), dtype=torch.int64, device=grad.device)  # dropout's; there is none
    wanted = [True, True, True, False]
    backward = aten._scaled_dot_product_efficient_attention_backward
    dq, dk, dv, _ = backward(
        grad, p.q, p.k, p.v, _aligned_bias(p), out, lse, seed, seed, 0.0, wanted, False, scale=p.scale
    )
    return dq, dk, dv


def _aligned_bias(p: Problem) -> Tensor | None:
    """The bias over all heads, its rows a multiple of 16 bytes apart as the kernel wants them."""
    if p.bias is None:
        return None
    keys = p.bias.shape[-1]
    padded = torch.nn.functional.pad(p.bias, (0, -keys % 16))
    return padded[..., :keys].expand(*p.q.shape[:3], keys)


CPU_FLASH = Kernel(_cpu_forward, _cpu_backward)
CUDNN = Kernel(_cudnn_forward, _cudnn_backward)  # the fastest dense one on Hopper in bf16 and fp16, without bias
EFFICIENT = Kernel(_efficient_forward, _efficient_backward)  # CUDA, float32 too, and the one that takes a bias


def why_not(device: torch.device, dtype: torch.dtype, head_dim: int, segments: int = 1) -> str | None:
    """Why no kernel serves here; None if one does."""
    if device.type == "cpu":
        served = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
        return None if dtype in served else f"the CPU kernel takes floating point, not {dtype}"
    if device.type == "cuda":
        if dtype not in (torch.float32, torch.bfloat16, torch.float16):
            return f"the CUDA kernels take float32, bfloat16 and float16, not {dtype}"
        if head_dim % 8:
            return f"the CUDA kernels need a head width that is a multiple of 8, not {head_dim}"
        return None
    return f"there are kernels for cpu and cuda, not for {device.type}"


def kernel_for(q: Tensor, biased: bool) -> Kernel:
    """The fastest kernel that serves these tensors."""
    if q.device.type == "cpu":
        return CPU_FLASH
    if not biased and q.dtype != torch.float32 and q.shape[-1] <= 128 and _capability(q.device) >= (9, 0):
        return CUDNN
    return EFFICIENT


@lru_cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)
