"""What is said before training: on what, of which size, on how much data."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from locomt.cost import flops, parameters
from locomt.data.overview import overview
from locomt.nn.config import FusionConfig
from locomt.train.recipe import Recipe

PRECISIONS = {"32": "float32", "bf16-mixed": "bfloat16 where it serves (bf16-mixed)"}


def header(recipe: Recipe, config: FusionConfig, classes: int, accelerator: str) -> list[str]:
    """The lines before a run.

    Args:
        recipe: what is trained.
        config: of its model.
        classes: how many there are; 0 where labels are numbers.
        accelerator: `cpu` or `cuda`, where it is trained.
    """
    train, data = recipe.train, recipe.data
    counts = overview(data).samples
    splits = dict.fromkeys((data.train_split, data.val_split, data.test_split))
    samples = ", ".join(f"{counts.get(split, 0):,} {split}" for split in splits)
    drawn = train.epoch_samples or counts[data.train_split]
    batches = -(-drawn // train.batch_size)
    return [
        f"device: {device(accelerator, train.devices)}, {PRECISIONS[str(train.precision)]}",
        f"model: {recipe.model.fusion} of {size(config)}",
        f"data: {samples} samples, {f'{classes:,} classes' if classes else 'labels are numbers'}; {data.task}",
        f"training: {_count(train.epochs, 'epoch')} of {_count(batches, 'batch', 'batches')} of {train.batch_size}"
        f"{f', until {train.patience} are no better' if train.patience else ''}",
    ]


def runs_line(recipes: Sequence[Recipe], labels: Sequence[Sequence[str]], at_once: int, accelerator: str) -> str:
    """The line before many runs.

    Args:
        recipes: of the runs.
        labels: of each.
        at_once: how many are done at a time.
        accelerator: as for `header`.
    """
    configs = [recipe.fusion_config(own) for recipe, own in zip(recipes, labels, strict=True)]
    costs = sorted({f"{flops(config).total / 1e9:.3g}" for config in configs}, key=float)
    sizes = sorted({parameters(config) for config in configs})
    lengths = sorted({recipe.train.epochs for recipe in recipes})
    precisions = sorted({PRECISIONS[str(recipe.train.precision)] for recipe in recipes})
    return (
        f"{_count(len(recipes), 'run')}, {at_once} at a time, on {device(accelerator)}, {', '.join(precisions)}: "
        f"{_range([f'{count:,}' for count in sizes])} parameters, {_range(costs)} GFLOPs a sample forward, "
        f"{_range(list(map(str, lengths)))} {'epoch' if lengths == [1] else 'epochs'}"
    )


def device(accelerator: str, count: int = 1) -> str:
    """`CPU, 2 threads`, `2 x NVIDIA H200`."""
    if accelerator == "cpu":
        name = f"CPU, {_count(torch.get_num_threads(), 'thread')}"
        return name if count == 1 else f"{count} processes, each on {name}"
    name = torch.cuda.get_device_name()
    return name if count == 1 else f"{count} x {name}"


def size(config: FusionConfig) -> str:
    """`1,234,567 parameters, 0.52 GFLOPs a sample forward`."""
    return f"{parameters(config):,} parameters, {flops(config).total / 1e9:.3g} GFLOPs a sample forward"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def _range(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
