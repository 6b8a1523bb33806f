"""The backend `triton`: one launch forward and two backward, whatever the views; the kernels are in `fused_kernels`.

Deterministic by design: every gradient is summed by one program, in one order, without atomics.
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

from locomt.ops.operator import register, token_major
from locomt.ops.padding import unpadded
from locomt.ops.plan import decode, offsets

LOG2_E = math.log2(math.e)


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
    if _generation(device) < 8:
        return "its kernels need an Ampere GPU or a newer one"
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch.compile need not look into it
def _generation(device: torch.device) -> int:
    return torch.cuda.get_device_capability(device)[0]


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
    launch = _Launch("forward", q, layout, masks, lengths, self_on_missing)
    launch((q, k, v, out, lse), (q, k, v, out), (scale * LOG2_E,))
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
    dq, dk, dv = (token_major(t) for t in (q, k, v))
    q, k, v, grad = map(_dense_rows, (q, k, v, grad))
    delta = torch.empty_like(lse)
    options = (q, layout, masks, lengths, self_on_missing)
    scales = (scale * LOG2_E, scale)
    _Launch("query", *options)((q, k, v, out, grad, lse, delta, dq), (q, k, v, out, grad, dq), scales)
    _Launch("key", *options)((q, k, v, grad, lse, delta, dk, dv), (q, k, v, grad, dk, dv), scales)
    return dq, dk, dv


class _Launch:
    """One launch of a kernel: its grid, work table and compile-time constants."""

    def __init__(
        self,
        kernel: str,
        q: Tensor,
        layout: Sequence[int],
        masks: Sequence[int],
        lengths: Tensor | None,
        self_on_missing: bool,
    ) -> None:
        b, self.heads, self.tokens, d = q.shape
        self.full = unpadded(list(layout), lengths)
        padded_width = max(16, 1 << (d - 1).bit_length())
        self.tiling = TILINGS[kernel][max(64, padded_width)]
        self.kernel = getattr(_kernels(), KERNELS[kernel])
        fall_back = self_on_missing and (not self.full or 0 in layout)
        self.table, self.tiles = _work_table(
            tuple(layout), tuple(masks), self.tiling.rows, kernel == "key", fall_back and self.full, q.device
        )
        self.lengths = self.table  # never read
        if not self.full:
            assert lengths is not None
            self.lengths = lengths.to(q.device).contiguous()
        self.programs = b * self.heads * self.tiles
        self.constants = {
            "M": len(layout),
            "WIDTH": self.table.shape[1],
            "D": d,
            "BD": padded_width,
            "ROWS": self.tiling.rows,
            "BLOCK": self.tiling.block,
            "TAIL": self.tiling.tail,
            "FULL": self.full,
            "FALLBACK": fall_back and not self.full,
            "num_warps": self.tiling.warps,
            "num_stages": self.tiling.stages,
        }

    def __call__(self, tensors: tuple[Tensor, ...], strided: tuple[Tensor, ...], scales: tuple[float, ...]) -> None:
        if not self.programs:
            return
        strides = [stride for t in strided for stride in t.stride()[:3]]
        sizes = (self.table, self.lengths, self.tiles, self.heads, self.tokens)
        with torch.cuda.device_of(tensors[0]):
            self.kernel[(self.programs,)](*tensors, *sizes, *strides, *scales, **self.constants)


KERNELS = {"forward": "forward_kernel", "query": "query_gradient_kernel", "key": "key_gradients_kernel"}


@lru_cache
def _kernels() -> ModuleType:
    """Imported late: Triton is optional, and it decides at import whether it interprets."""
    from locomt.ops import fused_kernels

    return fused_kernels


def _dense_rows(tensor: Tensor) -> Tensor:
    """As it is where the values of a token are neighbours in memory, as projections leave them."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def work_rows(
    layout: Sequence[int], masks: Sequence[int], tile: int, by_key: bool, fall_back: bool = False
) -> list[list[list[int]]]:
    """For every head, one row for every tile of tokens; the columns are described in `fused_kernels`.

    Args:
        layout, masks: as everywhere in ops.
        tile: tokens of a tile.
        by_key: tiles of keys, which meet the queries that see them; else tiles of queries, which meet their keys.
        fall_back: queries that find nothing in the full layout see their own modality.

    Returns:
        Rows of equal length, the same number for every head, those with most work first.
    """
    m, start = len(layout), offsets(layout)
    heads = []
    for view in decode(masks, m):
        seen = [list(keys) for keys in view]
        if fall_back:
            seen = [[i] if keys and not any(layout[j] for j in keys) else keys for i, keys in enumerate(seen)]
        met = [[i for i in range(m) if j in seen[i]] for j in range(m)] if by_key else seen
        rows = []
        for i, size in enumerate(layout):
            others = [j for j in met[i] if layout[j]]
            mask = sum(1 << j for j in view[i])
            fields = [field for j in others for field in (j, start[j], layout[j])]
            blank = [0] * 3 * (m - len(others))
            for first in range(0, size, tile):
                rows.append([i, first, start[i], size, mask, len(others), *fields, *blank])
        rows.sort(key=lambda row: -sum(layout[j] for j in row[6 : 6 + 3 * row[5] : 3]))
        heads.append(rows)
    return heads


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
