"""Optimisers and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from locomt.train.recipe import TrainConfig

UNDECAYED = ("positions", "cls", "bottleneck")
"""Parameters of more than one axis that are no weights of a linear map: weight decay passes them over."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """The parameters in two groups: weights, which decay, and biases, norms, positions and tokens, which do not."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        free = parameter.ndim < 2 or not set(UNDECAYED).isdisjoint(name.split("."))
        (others if free else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
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
    groups = parameter_groups(model, config.weight_decay)
    if config.optimizer == "adamw":
        return AdamW(groups, lr=config.learning_rate)
    return SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def make_schedule(optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int) -> LambdaLR:
    """Warm-up and cosine, moved on by one at every optimiser step."""
    warmup = round(config.warmup_epochs * steps_per_epoch)
    return LambdaLR(optimizer, warmup_cosine(config.epochs * steps_per_epoch, warmup))
