"""The processes that work on one run together: which of them this is, and what all of them have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def in_use() -> bool:
    """Whether this process is one of several: `torch.distributed` has been initialised."""
    return distributed.is_available() and distributed.is_initialized()


def is_first() -> bool:
    """Whether this process writes for all: told from what launched it, so before `torch.distributed` is in use too."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def place() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) where it is alone."""
    return (distributed.get_rank(), distributed.get_world_size()) if in_use() else (0, 1)


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes, each of which has to call it."""
    if not in_use():
        return tensor
    summed = tensor.clone()
    distributed.all_reduce(summed)
    return summed


def gather(value: T) -> list[T]:
    """The value of every process in the order of their numbers; each of them has to call it."""
    if not in_use():
        return [value]
    values: list[T | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def gather_rows(parts: Sequence[Tensor]) -> Tensor:
    """The rows of these tensors and of those of all other processes, each of which has to call it."""
    if not in_use():
        return torch.cat(list(parts))
    return torch.cat([part for gathered in gather([part.cpu() for part in parts]) for part in gathered])
