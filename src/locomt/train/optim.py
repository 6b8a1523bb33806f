"""Optimisers and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from locomt.train.config import TrainConfig

UNDECAYED = ("positions", "cls", "bottleneck")
"""Parameters of more than one axis that are no weights of a linear map: weight decay passes them over."""


def part_of(path: str) -> str:
    """The part of a `FusionModel` that a parameter or module belongs to, by its path.

    A modality's name (embedding and unimodal layers), `<modality>.encoder` (the pretrained model in its embedding),
    `head`, or `fusion` for the rest; nothing for what holds several of them.
    """
    first, _, rest = path.partition(".")
    if first in ("embeddings", "towers", ""):
        modality, _, inner = rest.partition(".")
        return f"{modality}.encoder" if f"{inner}.".startswith("project.encoder.") else modality
    return "head" if first == "head" else "fusion"


def freeze(model: nn.Module, parts: Collection[str]) -> None:
    """Take parts out of training: no gradients, and no dropout or stochastic depth either."""
    for path, module in model.named_modules():
        if part_of(path) in parts:
            module.training = False
    for path, parameter in model.named_parameters():
        if part_of(path) in parts:
            parameter.requires_grad_(False)


def parameter_groups(
    model: nn.Module, weight_decay: float, rates: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """The parameters that are trained, in two groups for each learning rate.

    The first of the two has the weights, which decay, the second biases, norms, positions and tokens, which do not.
    The first two groups have the optimiser's own rate, the following ones those of `rates`: part -> rate.
    """
    groups: dict[str, tuple[list[nn.Parameter], list[nn.Parameter]]] = {"": ([], [])}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = part_of(name) if rates else ""
        decayed, others = groups.setdefault(part if part in (rates or {}) else "", ([], []))
        free = parameter.ndim < 2 or not set(UNDECAYED).isdisjoint(name.split("."))
        (others if free else decayed).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, **({"lr": rates[part]} if rates and part else {})}
        for part, pair in groups.items()
        for parameters, decay in zip(pair, (weight_decay, 0.0), strict=True)
    ]


def warmup_cosine(total: int, warmup: int) -> Callable[[int], float]:
    """The share of the peak learning rate at each step: a straight line up to 1, then half a cosine to 0.

    Args:
        total: steps of the whole run, warm-up included.
        warmup: steps of the warm-up; step `warmup` is the first at the full rate.
    """

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

    return share


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The recipe's optimiser over the model's parameters."""
    groups = parameter_groups(model, config.weight_decay, config.learning_rates)
    if config.optimizer == "adamw":
        return AdamW(groups, lr=config.learning_rate)
    return SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def make_schedule(optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int) -> LambdaLR:
    """Warm-up and cosine, moved on by one at every optimiser step."""
    warmup = round(config.warmup_epochs * steps_per_epoch)
    return LambdaLR(optimizer, warmup_cosine(config.epochs * steps_per_epoch, warmup))
