"""What only CUDA offers: replays of a recorded graph, peak memory, and the rate to measure utilisation by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

MIB = 2**20
PRODUCT_SIZE = 8192
PRODUCT_FLOPS = 2 * PRODUCT_SIZE**3


def graphed(run: Callable[[], Any]) -> Callable[[], None]:
    """`run` recorded once; what comes back replays it, without the CPU's part. Its inputs must stay where they are."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is allocated or chosen on a first call must not be recorded
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most that a call of `run` allocates at any one moment on top of what is there before it."""
    run()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def matrix_product() -> Callable[[], None]:
    """One product of two large bf16 matrices, `PRODUCT_FLOPS` FLOPs."""
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)

    def run() -> None:
        torch.mm(a, b, out=out)

    return run
