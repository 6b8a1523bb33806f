"""torch's fused dense attention kernels, forward and backward called by hand.

Going through autograd would hand back a zero-filled gradient of the whole q, k or v for every slice and then add
them all up, which costs more than the attention itself; called by hand, each gradient is written once, in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

aten = torch.ops.aten


class Kernel(Protocol):
    """Dense attention of q `[B, H, Q, D]` over k, v `[B, H, K, D]` with an additive bias `[B, 1, Q, K]` or none."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
        """The output and the log-sum-exp of the scores, `[B, H, Q]` in float32 (float64 for float64)."""
        ...

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        out: Tensor,
        lse: Tensor,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of q, k and v."""
        ...


@dataclass(frozen=True)
class CpuFlash:
    """Blocked attention on the CPU."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=bias, scale=scale)
        return out, lse

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        out: Tensor,
        lse: Tensor,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        grads: tuple[Tensor, Tensor, Tensor] = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, q, k, v, out, lse, 0.0, False, attn_mask=bias, scale=scale
        )
        return grads


@dataclass(frozen=True)
class Cudnn:
    """cuDNN's attention: the fastest dense one on Hopper in bf16 and fp16; used where there is no bias."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
        assert bias is None
        results = aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, False, False, scale=scale)
        return results[0], results[1].reshape(q.shape[:3])

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        out: Tensor,
        lse: Tensor,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        seed = torch.empty((), dtype=torch.int64, device=q.device)  # dropout's; there is none
        grads: tuple[Tensor, Tensor, Tensor] = aten._scaled_dot_product_cudnn_attention_backward(
            grad,
            q,
            k,
            v,
            out,
            lse[..., None].contiguous(),
            seed,
            seed,
            None,
            None,
            None,
            q.shape[2],
            k.shape[2],
            0.0,
            False,
            scale=scale,
        )
        return grads


@dataclass(frozen=True)
class Efficient:
    """The memory-efficient kernel: CUDA, float32 too, and the one that takes a bias."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
        out, lse, *_ = aten._scaled_dot_product_efficient_attention(
            q, k, v, _aligned(bias, q), True, 0.0, False, scale=scale
        )
        return out, lse[..., : q.shape[2]]

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        out: Tensor,
        lse: Tensor,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # In half precision the kernel reads `out` as a contiguous [B, Q, H, D], whatever its strides say.
        out = out.transpose(1, 2).contiguous().transpose(1, 2)
        # It wants the rows of the log-sum-exp padded to a multiple of 32, and infinity there.
        lse = torch.nn.functional.pad(lse, (0, -lse.shape[-1] % 32), value=float("inf"))
        seed = torch.empty((), dtype=torch.int64, device=q.device)
        dq, dk, dv, _ = aten._scaled_dot_product_efficient_attention_backward(
            grad,
            q,
            k,
            v,
            _aligned(bias, q),
            out,
            lse,
            seed,
            seed,
            0.0,
            [True, True, True, False],
            False,
            scale=scale,
        )
        return dq, dk, dv


def _aligned(bias: Tensor | None, q: Tensor) -> Tensor | None:
    """The bias over all heads, its rows a multiple of 16 bytes apart as the kernel wants them."""
    if bias is None:
        return None
    keys = bias.shape[-1]
    padded = torch.nn.functional.pad(bias, (0, -keys % 16))
    return padded[..., :keys].expand(q.shape[0], q.shape[1], q.shape[2], keys)


def why_not(device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
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


@lru_cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def kernel_for(q: Tensor, biased: bool) -> Kernel:
    """The fastest kernel that serves these tensors."""
    if q.device.type == "cpu":
        return CpuFlash()
    if not biased and q.dtype != torch.float32 and q.shape[-1] <= 128 and _capability(q.device) >= (9, 0):
        return Cudnn()
    return Efficient()
