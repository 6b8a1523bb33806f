"""The processes that work on one run together: which of them this is, and what all of them have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""What a launcher such as torchrun tells each process by its environment."""


class LaunchError(ValueError):
    """Processes that were begun in a way that does not fit the recipe."""


def check_launch(devices: int) -> None:
    """Refuse an environment in which the processes of a run would not find each other.

    Args:
        devices: the processes that there should be.

    Raises:
        LaunchError: a variable is no number or missing, or there are more or fewer processes.
    """
    told = {name: text for name in NUMBERS if (text := os.environ.get(name)) is not None}
    for name, text in told.items():
        if not text.isdecimal():
            raise LaunchError(f"the environment variable {name} is {text!r}, expected a number as torchrun sets it")
    if "RANK" in told and "WORLD_SIZE" not in told:
        raise LaunchError(
            f"the environment variable RANK is {told['RANK']}, but WORLD_SIZE is not set; torchrun sets both, and "
            "without it neither is wanted: unset RANK"
        )
    count = int(told.get("WORLD_SIZE", devices))
    if count != devices:
        raise LaunchError(
            f"train.devices is {devices}, but the environment says {count} processes (WORLD_SIZE); pass "
            f"--train.devices {count}, or begin {devices} (torchrun --nproc_per_node {devices})"
        )
    if int(told.get("RANK", 0)) >= count:
        raise LaunchError(f"the environment variable RANK is {told['RANK']}, expected it below WORLD_SIZE, {count}")


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
