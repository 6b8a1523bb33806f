"""Whether the package flash-attn-4 is there, of the one version whose inner functions are known, and loads.

It is a beta, and what is called of it is not its public interface: another version is refused, not tried.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from locomt.ops.hopper.launch import generation
from locomt.ops.triton import fused

TESTED = "4.0.0b36"
WIDTHS = (64, 128)  # with which it was tested


def _found() -> str | None:
    try:
        return version("flash-attn-4")
    except PackageNotFoundError:
        return None


FOUND = _found()  # read once: torch.compile traces through `why_not`


def why_not(device: torch.device, dtype: torch.dtype, head_dim: int, segments: int = 1) -> str | None:
    """Why its kernels cannot serve here; None if they can."""
    if FOUND is None:
        return "flash-attn-4 is not installed (pip install 'locomt[fa4]')"
    if FOUND != TESTED:
        return f"flash-attn-4 {FOUND} is installed, tested is {TESTED} (pip install 'locomt[fa4]')"
    if head_dim not in WIDTHS:
        return f"its kernels were tested with head widths {' and '.join(map(str, WIDTHS))}, not {head_dim}"
    if device.type != "cuda" or generation(device) != 9:
        return "its kernels were tested on Hopper GPUs alone"
    if reason := fused.why_not(device, dtype, head_dim, segments):
        return f"the forward pass is that of 'triton', and {reason}"
    return broken()


def broken() -> str | None:
    """Why the installed package does not load; None if it does. The first call takes seconds."""
    return _broken()


# torch.compile need not look into it; see `hopper.launch.generation`. Into what a cache wraps it looks all the same.
broken._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache
def _broken() -> str | None:
    try:
        backward()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # it loads a compiler and CUDA's libraries
        return f"flash-attn-4 {FOUND} does not load: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


@lru_cache
def backward() -> Callable[..., Any]:
    """Its backward of one dense attention, `[B, tokens, heads, width]`, which fills the gradients that it is given."""
    return import_module("flash_attn.cute.interface")._flash_attn_bwd  # type: ignore[no-any-return]
