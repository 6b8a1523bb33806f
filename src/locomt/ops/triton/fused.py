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
from locomt.ops.worktable import work_rows
from locomt.views.segments import score_pairs

LOG2_E = math.log2(math.e)
MOST_SEGMENTS = 31  # the bits of a mask in the table of work, which holds whole numbers of 32 bits
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


def why_not(device: torch.device, dtype: torch.dtype, head_dim: int, segments: int = 1) -> str | None:
    """Why the kernels cannot serve here; None if they can."""
    if not INSTALLED:
        return "Triton is not installed (pip install triton)"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"its kernels take bfloat16 and float16, not {dtype}"
    if not 8 <= head_dim <= 128 or head_dim % 8:
        return f"its kernels take head widths up to 128 that are multiples of 8, not {head_dim}"
    if segments > MOST_SEGMENTS:
        return f"its kernels tell {MOST_SEGMENTS} segments of tokens apart, not {segments}"
    if INTERPRETED:  # on the CPU, for tests
        return "Triton's interpreter multiplies bfloat16 wrongly" if dtype == torch.bfloat16 else None
    if device.type != "cuda":
        return f"its kernels run on CUDA devices, not on {device.type} (TRITON_INTERPRET=1 emulates one, for tests)"
    if hopper.generation(device) < 8:
        return "its kernels need an Ampere GPU or a newer one"
    return None


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    scale: float,
    own: int,
) -> tuple[Tensor, Tensor]:
    """The output, and the log-sum-exp in base 2."""
    if scale < 0:  # the running maximum is taken before scaling
        return forward(-q, k, v, layout, masks, lengths, -scale, own)
    q, k, v = map(_dense_rows, (q, k, v))
    out, lse = token_major(q), torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    lengths, own = _padding(layout, lengths, own)
    padded = lengths is not None
    if not (padded and own) and hopper.serves_forward(q, k, v, layout, padded):
        hopper.forward(q, k, v, out, lse, layout, masks, lengths, own, scale * LOG2_E)
    else:
        tensors = (q, k, v, out, lse)
        _launch("forward", tensors, (q, k, v, out), layout, masks, lengths, own, (scale * LOG2_E,))
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
    if scale < 0:
        dq, dk, dv = _backward(grad, -q, k, v, out, lse, layout, masks, lengths, -scale, own)
        return -dq, dk, dv
    q, k, v, grad = map(_dense_rows, (q, k, v, grad))
    lengths, own = _padding(layout, lengths, own)
    if lengths is None and _dense_calls_are_faster(q, layout, masks):
        backward = torch.ops.locomt.sdpa_view_attention_backward
        arguments = (grad, q, k, v, out, lse / LOG2_E, layout, masks, None, scale, own)
        return backward(*arguments)  # type: ignore[no-any-return]
    dq, dk, dv = (token_major(t) for t in (q, k, v))
    scales = (scale * LOG2_E, scale)
    if not (lengths is not None and own) and hopper.serves_backward(grad, q, k, v, layout):
        hopper.backward(grad, q, k, v, out, lse, (dq, dk, dv), layout, masks, lengths, own, scales)
        return dq, dk, dv
    delta = torch.empty_like(lse)
    options = (layout, masks, lengths, own, scales)
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


def _padding(layout: Sequence[int], lengths: Tensor | None, own: int) -> tuple[Tensor | None, int]:
    """Lengths, None where they are known to be full; and `own`, 0 where no modality can be missing."""
    if unpadded(list(layout), lengths):
        lengths = None
    return lengths, own if lengths is not None or 0 in layout else 0


def _launch(
    kernel: str,
    tensors: tuple[Tensor, ...],
    strided: tuple[Tensor, ...],
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    own: int,
    scales: tuple[float, ...],
) -> None:
    q = tensors[0]
    b, heads, tokens, d = q.shape
    full = lengths is None
    padded_width = max(16, 1 << (d - 1).bit_length())
    tiling = TILINGS[kernel][max(64, padded_width)]
    table, tiles = _work_table(tuple(layout), tuple(masks), tiling.rows, kernel == "key", own, q.device)
    if not b * heads * tiles:
        return
    read = table if lengths is None else lengths.to(q.device).contiguous()  # no length is read where all are full
    strides = [stride for t in strided for stride in t.stride()[:3]]
    with torch.cuda.device_of(q):
        getattr(_kernels(), KERNELS[kernel])[(b * heads * tiles,)](
            *tensors, table, read, tiles, heads, tokens, *strides, *scales,
            M=len(layout), WIDTH=table.shape[1], D=d, BD=padded_width,
            ROWS=tiling.rows, BLOCK=tiling.block, TAIL=tiling.tail,
            FULL=full, OWN=0 if full else own,
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
    layout: tuple[int, ...], masks: tuple[int, ...], tile: int, by_key: bool, own: int, device: torch.device
) -> tuple[Tensor, int]:
    """`work_rows` on the device, `[heads * tiles, columns]`, and the tiles of a head."""
    heads = work_rows(layout, masks, tile, by_key, own)
    rows = [row for head in heads for row in head]
    table = torch.tensor(rows, dtype=torch.int32).reshape(len(rows), 6 + 3 * len(layout))
    return table.to(device), len(heads[0])


register("triton", forward, _backward)
