"""How much memory training is estimated to take, from the closed forms, and how much of it the device has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from locomt.cost import activation_bytes, fusion_bytes, parameters
from locomt.faults import gib
from locomt.nn.config import FusionConfig
from locomt.train.recipe import Recipe

FLOAT = 4
"""Bytes of a weight: autocast keeps them in float32, and copies in bf16 beside them."""
NO_LIMIT = 2**60
"""Bytes above which a limit of a control group is none."""


@dataclass(frozen=True)
class Need:
    """Bytes of a training step on each device, what kernels need while they run left out.

    Attributes:
        samples: of a batch that a device has at once.
        weights: the parameters, their average (`train.ema`) and, under autocast, their copies.
        optimizer: the gradients of what is trained, and the optimiser's state.
        activations: what autograd holds when the forward pass has ended.
    """

    samples: int
    weights: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = f"weights {gib(self.weights)}, gradients and optimiser {gib(self.optimizer)}"
        return (
            f"training with {self.samples} samples at once is estimated to need {gib(self.total)}: {parts}, "
            f"activations {gib(self.activations)}"
        )


def estimate(recipe: Recipe, config: FusionConfig, trained: int | None = None) -> Need:
    """What training takes on each device.

    Args:
        recipe: how it is trained.
        config: of the model.
        trained: numbers that have a gradient; all parameters where left out.
    """
    train, numbers = recipe.train, parameters(config)
    trained = numbers if trained is None else trained
    half = train.precision == "bf16-mixed"
    states = 2 if train.optimizer == "adamw" else int(train.momentum > 0)
    gradients = 2 if train.devices > 1 else 1  # those that processes exchange lie in buckets of their own
    samples = -(-train.batch_size // train.devices)
    width = 2 if half else FLOAT
    few = train.checkpointing
    activations = activation_bytes(config, batch=samples, dtype_bytes=width, checkpointing=few)
    if train.unimodal_loss and len(config.read) > 1:
        activations += sum(alone_bytes(config, name, samples, width, few) for name in config.read)
    return Need(
        samples=samples,
        weights=numbers * (FLOAT * (1 + (train.ema > 0)) + 2 * half),
        optimizer=trained * FLOAT * (gradients + states),
        activations=train.view_training.passes(train) * activations,
    )


def alone_bytes(config: FusionConfig, name: str, batch: int, dtype_bytes: int, checkpointing: bool = False) -> int:
    """Activations of the fusion layers once more for one modality, with the others missing."""
    return fusion_bytes(config, {name: config.layout.as_dict()[name]}, batch, dtype_bytes, checkpointing)


def shortage(need: Need, accelerator: str, processes: int) -> str | None:
    """A line where that is more than is free, None where it fits or is not known.

    Args:
        need: of each process.
        accelerator: `cpu` or `cuda`.
        processes: that share the memory of a CPU; each has a CUDA device of its own.
    """
    if accelerator == "cuda":
        wanted, place = need.total, "the GPU has"
    else:
        wanted, place = processes * need.total, "this machine has"
    free = torch.cuda.mem_get_info()[0] + _cached() if accelerator == "cuda" else free_memory()
    if free is None or wanted <= free:
        return None
    shared = f" in each of {processes} processes" if wanted > need.total else ""
    return (
        f"{need}{shared}, and {place} {gib(free)} free: it may run out; a smaller train.batch_size or model takes less"
    )


def _cached() -> int:
    """Bytes that torch holds of the GPU without using them."""
    return torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process may still take: what the system has, within the limits of its control groups.

    None where the system does not say (Linux does).
    """
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        own = (proc / "self" / "cgroup").read_text().splitlines()
    except (OSError, StopIteration):
        return None
    for entry in own:
        _, controllers, path = entry.split(":", 2)
        if controllers == "":
            names, root = ("memory.max", "memory.current", "inactive_file"), groups
        elif "memory" in controllers.split(","):
            names, root = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"), groups / "memory"
        else:
            continue
        folder = root / path.lstrip("/")
        for place in (folder, *folder.parents):  # a limit of any group above holds too
            if (left := _left(place, *names)) is not None:
                free = min(free, left)
            if place == root:
                break
    return free


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    """Bytes left in a control group; file contents that the system would drop count as left."""
    try:
        most, used = (group / limit).read_text().strip(), int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if most == "max" or int(most) > NO_LIMIT:
        return None
    return max(0, int(most) - used + int(stat.get(reclaimable, 0)))
