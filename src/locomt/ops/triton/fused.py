"""The backend `triton`: one launch forward and two backward, whatever the views; the kernels are in `fused_kernels`.

There every gradient is summed by one program, in one order, without atomics. On Hopper GPUs `hopper` takes over where
it is faster; its gradients of queries do not repeat bit for bit unless `torch.use_deterministic_algorithms(True)`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from locomt.ops.hopper import launch as hopper
from locomt.ops.operator import register, token_major
from locomt.ops.padding import unpadded
from locomt.ops.plan import score_pairs
from locomt.ops.worktable import work_rows

LOG2_E = math.log2(math.e)
LARGE = 1e11  # FLOPs of a forward pass from which on launches no longer count


class Tiling(NamedTuple):
    """Tokens of a tile, of a block that it meets and of the smaller blocks of a remainder; warps; pipeline stages."""

    rows: int
    block: int
    tail: int
    warps: int
    stages: int


# Measured on an H200 (docs/performance.md); by kernel and the power of two that the head width is padded to.
TILINGS = {
    "forward": {64: Tiling(64, 64, 32, 4, 3), 128: Tiling(64, 64, 32, 4, 3)},
    "query": {64: Tiling(64, 64, 32, 4, 3), 128: Tiling(64, 32, 32, 4, 3)},
    "key": {64: Tiling(64, 32, 32, 4, 3), 128: Tiling(64, 64, 32, 4, 2)},
}


# Read once: `why_not` is asked at every call, and torch.compile traces through it.
INSTALLED = find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "y", "on", "yes", "true")


def why_not(device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    """Why the kernels cannot serve here; None if they can."""
    if not INSTALLED:
        return "Triton is not installed (pip install triton)"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"its kernels take bfloat16 and float16, not {dtype}"
    if not 8 <= head_dim <= 128 or head_dim % 8:
        return f"its kernels take head widths up to 128 that are multiples of 8, not {head_dim}"
    if INTERPRETED:  # on the CPU, for tests
        return "Triton's interpreter multiplies bfloat16 wrongly" if dtype == torch.bfloat16 else None
    if device.type != "cuda":
        return f"its kernels run on CUDA devices, not on {device.type} (TRITON_INTERPRET=1 emulates one, for tests)"
    if hopper.generation(device) < 8:
        return "its kernels need an Ampere GPU or a newer one"
    return None


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
    if scale < 0:  # the running maximum is taken before scaling
        return _forward(-q, k, v, layout, masks, lengths, -scale, self_on_missing)
    q, k, v = map(_dense_rows, (q, k, v))
    out, lse = token_major(q), torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    lengths, fall_back = _padding(layout, lengths, self_on_missing)
    padded = lengths is not None
    if not (padded and fall_back) and hopper.serves_forward(q, k, v, layout, padded):
        hopper.forward(q, k, v, out, lse, layout, masks, lengths, fall_back, scale * LOG2_E)
    else:
        tensors = (q, k, v, out, lse)
        _launch("forward", tensors, (q, k, v, out), layout, masks, lengths, fall_back, (scale * LOG2_E,))
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
    if scale < 0:
        dq, dk, dv = _backward(grad, -q, k, v, out, lse, layout, masks, lengths, -scale, self_on_missing)
        return -dq, dk, dv
    q, k, v, grad = map(_dense_rows, (q, k, v, grad))
    lengths, fall_back = _padding(layout, lengths, self_on_missing)
    if lengths is None and _dense_calls_are_faster(q, layout, masks):
        backward = torch.ops.locomt.sdpa_view_attention_backward
        arguments = (grad, q, k, v, out, lse / LOG2_E, layout, masks, None, scale, self_on_missing)
        return backward(*arguments)  # type: ignore[no-any-return]
    dq, dk, dv = (token_major(t) for t in (q, k, v))
    scales = (scale * LOG2_E, scale)
    if not (lengths is not None and fall_back) and hopper.serves_backward(grad, q, k, v, layout):
        hopper.backward(grad, q, k, v, out, lse, (dq, dk, dv), layout, masks, lengths, fall_back, scales)
        return dq, dk, dv
    delta = torch.empty_like(lse)
    options = (layout, masks, lengths, fall_back, scales)
    _launch("query", (q, k, v, out, grad, lse, delta, dq), (q, k, v, out, grad, dq), *options)
    _launch("key", (q, k, v, grad, lse, delta, dk, dv), (q, k, v, grad, dk, dv), *options)
    return dq, dk, dv


def _dense_calls_are_faster(q: Tensor, layout: Sequence[int], masks: Sequence[int]) -> bool:
    """Where cuDNN's backward, called for each view, beats the two launches though its results have to be put in place.

    As measured on an H200 (docs/performance.md): at widths above 64, in large batches. It is not deterministic.
    """
    return (
        q.shape[-1] > 64
        and hopper.available(q.device)
        and not torch.are_deterministic_algorithms_enabled()
        and 4 * q.shape[0] * q.shape[-1] * score_pairs(layout, masks) >= LARGE
    )


def _padding(layout: Sequence[int], lengths: Tensor | None, self_on_missing: bool) -> tuple[Tensor | None, bool]:
    """Lengths, None where they are known to be full; and whether modalities can be missing that others stand in for."""
    if unpadded(list(layout), lengths):
        lengths = None
    return lengths, self_on_missing and (lengths is not None or 0 in layout)


def _launch(
    kernel: str,
    tensors: tuple[Tensor, ...],
    strided: tuple[Tensor, ...],
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    fall_back: bool,
    scales: tuple[float, ...],
) -> None:
    q = tensors[0]
    b, heads, tokens, d = q.shape
    full = lengths is None
    padded_width = max(16, 1 << (d - 1).bit_length())
    tiling = TILINGS[kernel][max(64, padded_width)]
    table, tiles = _work_table(tuple(layout), tuple(masks), tiling.rows, kernel == "key", fall_back and full, q.device)
    if not b * heads * tiles:
        return
    read = table if lengths is None else lengths.to(q.device).contiguous()  # no length is read where all are full
    strides = [stride for t in strided for stride in t.stride()[:3]]
    with torch.cuda.device_of(q):
        getattr(_kernels(), KERNELS[kernel])[(b * heads * tiles,)](
            *tensors, table, read, tiles, heads, tokens, *strides, *scales,
            M=len(layout), WIDTH=table.shape[1], D=d, BD=padded_width,
            ROWS=tiling.rows, BLOCK=tiling.block, TAIL=tiling.tail,
            FULL=full, FALLBACK=fall_back and not full,
            num_warps=tiling.warps, num_stages=tiling.stages,
        )  # fmt: skip


KERNELS = {"forward": "forward_kernel", "query": "query_gradient_kernel", "key": "key_gradients_kernel"}


@lru_cache
def _kernels() -> ModuleType:
    """Imported late: Triton is optional, and it decides at import whether it interprets."""
    from locomt.ops.triton import fused_kernels

    return fused_kernels


def _dense_rows(tensor: Tensor) -> Tensor:
    """As it is where the values of a token are neighbours in memory, as projections leave them."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


@lru_cache(maxsize=1024)
def _work_table(
    layout: tuple[int, ...], masks: tuple[int, ...], tile: int, by_key: bool, fall_back: bool, device: torch.device
) -> tuple[Tensor, int]:
    """`work_rows` on the device, `[heads * tiles, columns]`, and the tiles of a head."""
    heads = work_rows(layout, masks, tile, by_key, fall_back)
    rows = [row for head in heads for row in head]
    table = torch.tensor(rows, dtype=torch.int32).reshape(len(rows), 6 + 3 * len(layout))
    return table.to(device), len(heads[0])


register("triton", _forward, _backward)
