"""Where the kernels for Hopper GPUs serve within the backend `triton`, and their launches.

They read the same work tables as `fused_kernels` and give the same numbers, faster where there is enough work for all
multiprocessors: `forward.py` at head widths 64 and 128, `backward.py` at 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from locomt.ops.plan import offsets
from locomt.ops.worktable import met_tokens, work_rows


class Shape(NamedTuple):
    """Of the forward kernel.

    Attributes:
        groups: warpgroups.
        stages: blocks of keys under way, and `ahead` of queries.
        registers: of a thread of a warpgroup; `producer_registers` of the one that copies.
        tiles: for every multiprocessor, with fewer of which the kernels that run several programs on each are faster.
    """

    groups: int
    stages: int
    ahead: int
    registers: int
    producer_registers: int
    tiles: int


# Measured on an H200 (docs/performance.md), by head width.
SHAPES = {64: Shape(3, 4, 2, 160, 32, 4), 128: Shape(2, 2, 1, 232, 40, 2)}
SLOWER_PADDED = (64,)  # widths at which padded batches do better in the smaller blocks of the other kernels
BACKWARD_WIDTH = 64
SEGMENTS = 25  # as many as the message of a tile has words for
KEYS = 128  # of a tile of the backward kernel
QUERIES = 64  # of a block of it
BACKWARD_TILES = 2  # as Shape.tiles
SUMS_BYTES = 2**28  # of the float32 sums of gradients of queries that are held at a time; see docs/performance.md
TESTED = ("3.6.",)  # Gluon is experimental: releases of Triton with which the tests ran on such a GPU
TRITON = version("triton") if find_spec("triton") else ""  # read once: torch.compile traces through `available`


class Work(NamedTuple):
    """Tiles of a batch: a row of the work table and its head for each of one sample; all samples' tiles, longest first.

    `met` is the largest number of segments that one of them meets.
    """

    table: Tensor
    order: Tensor
    tiles: int
    met: int


def serves_forward(q: Tensor, k: Tensor, v: Tensor, layout: Sequence[int], padded: bool) -> bool:
    """Whether `forward` computes these tensors, and faster than the kernels for any GPU."""
    width = q.shape[-1]
    return (
        width in SHAPES
        and len(layout) <= SEGMENTS
        and not (padded and width in SLOWER_PADDED)
        and available(q.device)
        and _enough(q, layout, QUERIES * SHAPES[width].groups, SHAPES[width].tiles)
        and all(map(_copied_in_bulk, (q, k, v)))
    )


def serves_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, layout: Sequence[int]) -> bool:
    """Whether `backward` computes these gradients, and faster; never where they are to repeat bit for bit."""
    return (
        q.shape[-1] == BACKWARD_WIDTH
        and available(q.device)
        and not torch.are_deterministic_algorithms_enabled()
        and _enough(q, layout, KEYS, BACKWARD_TILES)
        and all(map(_copied_in_bulk, (grad, q, k, v)))
    )


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    own: int,
    scale: float,
) -> None:
    """Fill `out` and `lse`, as `fused_kernels.forward_kernel` does; `scale` is for base 2."""
    from locomt.ops.hopper import forward as kernels

    b, h, n, d = q.shape
    shape = SHAPES[d]
    work = _work(tuple(layout), tuple(masks), QUERIES * shape.groups, False, own, b, q.device)
    programs = _multiprocessors(q.device)
    descriptors = (_descriptor(q, QUERIES), _descriptor(k, KEYS), _descriptor(v, KEYS))
    drawn = torch.zeros(1, dtype=torch.int32, device=q.device)
    per_sample = _per_sample(layout, lengths, q.device)
    with torch.cuda.device_of(q):
        kernels.forward_kernel[(programs,)](
            out, lse, *descriptors, work.table, work.table.shape[1], work.tiles, work.order, drawn, *per_sample,
            h, n, *out.stride()[:3], scale,
            D=d, MET=work.met, GROUPS=shape.groups, STAGES=shape.stages, AHEAD=shape.ahead, REGISTERS=shape.registers,
            PRODUCER_REGISTERS=shape.producer_registers, num_warps=4,
        )  # fmt: skip


def backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    gradients: tuple[Tensor, Tensor, Tensor],
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: Tensor | None,
    own: int,
    scales: tuple[float, float],
) -> None:
    """Fill the gradients of q, k and v; `scales` are for base 2 and as it is."""
    from locomt.ops.hopper import backward as kernels

    b, h, n, _ = q.shape
    dq, dk, dv = gradients
    blocks, first_blocks = _query_blocks(tuple(layout), q.device)
    count, width = len(blocks), 8 + 4 * len(layout)
    passes = -(-b // max(1, SUMS_BYTES // (4 * h * count * QUERIES * BACKWARD_WIDTH)))
    samples = -(-b // passes)
    sums = torch.empty(samples * h * count * QUERIES * BACKWARD_WIDTH, device=q.device)
    statistics = torch.empty(samples * h * count * 2 * QUERIES, device=q.device)
    descriptors = (*(_descriptor(t, QUERIES) for t in (q, k, v, grad)), _flat_descriptor(statistics, 2 * QUERIES))
    per_sample = _per_sample(layout, lengths, q.device)
    for first in range(0, b, samples):
        some = min(samples, b - first)
        work = _work(tuple(layout), tuple(masks), KEYS, True, own, some, q.device)
        programs, rows = some * h * count, some * work.tiles
        plan = torch.empty(rows * width, dtype=torch.int32, device=q.device)
        with torch.cuda.device_of(q):
            kernels.prepare_kernel[(programs,)](
                out, grad, lse, statistics, sums, work.table, work.table.shape[1], work.tiles, work.order,
                blocks, first_blocks, plan, width, *per_sample, rows, first, h, n, count,
                *out.stride()[:3], *grad.stride()[:3], num_warps=4,
            )  # fmt: skip
            kernels.backward_kernel[(min(rows, _multiprocessors(q.device)),)](
                *descriptors, sums, dk, dv, plan, width, rows, *dk.stride()[:3], *dv.stride()[:3], *scales, num_warps=4
            )
            kernels.finish_kernel[(programs,)](
                sums, dq, blocks, count, first, h, *dq.stride()[:3], scales[1], num_warps=4
            )


def available(device: torch.device) -> bool:
    """Whether this is a Hopper GPU, and Triton a release with which the kernels were tested."""
    return device.type == "cuda" and TRITON.startswith(TESTED) and generation(device) == 9


def generation(device: torch.device) -> int:
    """The first number of a GPU's compute capability: 8 for Ampere, 9 for Hopper."""
    return torch.cuda.get_device_capability(device)[0]


# torch.compile need not look into it. This is all that torch.compiler.assume_constant_result does, but that imports the
# compiler, which takes as long as importing torch, in every process.
generation._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _enough(q: Tensor, layout: Sequence[int], tile: int, least: int) -> bool:
    tiles = q.shape[0] * q.shape[1] * sum(-(-size // tile) for size in layout)
    return tiles >= max(1, least * _multiprocessors(q.device))


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def _copied_in_bulk(tensor: Tensor) -> bool:
    """Whether the tensor memory accelerator takes it: rows and their distances in multiples of 16 bytes."""
    *outer, inner = tensor.stride()
    return inner == 1 and tensor.data_ptr() % 16 == 0 and all(stride > 0 and stride % 8 == 0 for stride in outer)


def _descriptor(tensor: Tensor, rows: int) -> Any:
    """For copies of so many tokens of one head."""
    from triton.experimental.gluon.language import NVMMASharedLayout
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    box = [1, 1, rows, tensor.shape[-1]]
    return TensorDescriptor(tensor, list(tensor.shape), list(tensor.stride()), box, NVMMASharedLayout(128, 16, rank=4))


def _flat_descriptor(tensor: Tensor, size: int) -> Any:
    from triton.experimental.gluon.language import NVMMASharedLayout
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    return TensorDescriptor(tensor, [tensor.numel()], [1], [size], NVMMASharedLayout(0, 32, rank=1))


def _per_sample(layout: Sequence[int], lengths: Tensor | None, device: torch.device) -> tuple[Tensor, int]:
    """Lengths, and how far those of one sample are from the next one's: 0 where all samples are full."""
    if lengths is None:
        return _full_lengths(tuple(layout), device), 0
    return lengths.to(device).contiguous(), len(layout)


@lru_cache(maxsize=1024)
def _full_lengths(layout: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(layout, dtype=torch.int32, device=device)


@lru_cache(maxsize=1024)
def _query_blocks(layout: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """For each block of queries its segment, that one's start, first query in it and size; each segment's first."""
    counts = [-(-size // QUERIES) for size in layout]
    start = offsets(layout)
    blocks = [[i, start[i], QUERIES * c, layout[i]] for i, count in enumerate(counts) for c in range(count)]
    firsts = torch.tensor(offsets(counts)[:-1], dtype=torch.int32, device=device)
    return torch.tensor(blocks, dtype=torch.int32, device=device), firsts


@lru_cache(maxsize=256)
def _work(
    layout: tuple[int, ...],
    masks: tuple[int, ...],
    tile: int,
    by_key: bool,
    own: int,
    batch: int,
    device: torch.device,
) -> Work:
    heads = work_rows(layout, masks, tile, by_key, own)
    table = torch.tensor([[*row, h] for h, rows in enumerate(heads) for row in rows], dtype=torch.int32)
    tiles = len(table)
    # What a tile costs: the tokens that it meets, and what is paid once, times how full it is.
    tokens = torch.tensor([met_tokens(row) for rows in heads for row in rows]) + 96
    filled = (table[:, 3] - table[:, 1]).clamp(max=tile)
    rank = torch.unique(-tokens * (tile // 2 + filled), return_inverse=True)[1]
    codes = torch.arange(batch * tiles).view(batch, tiles)  # of equal cost, tiles of one sample and head stay together
    order = (rank * batch * tiles + codes).flatten().sort().values % (batch * tiles)
    ended = torch.cat([order, torch.full((_multiprocessors(device) + 1,), -1)])
    return Work(table.to(device), ended.int().to(device), tiles, int(table[:, 5].max()))
