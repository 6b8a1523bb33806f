"""A few numbers that are fitted to a split which several processes may hold together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from locomt import ranks

STEPS = 30
"""Of the optimiser; it has found its place in fewer."""


def joined(batches: Iterable[tuple[Tensor, ...]], dim: Sequence[int] = (0, 0)) -> list[tuple[Tensor, ...]]:
    """Batches whose samples have one shape put together, outside of inference mode: fewer steps for the same losses.

    Args:
        batches: of some tensors each.
        dim: of each of these tensors, along which its samples lie.
    """
    alike: dict[tuple[Any, ...], list[tuple[Tensor, ...]]] = {}
    for batch in batches:
        shape = tuple((*part.shape[:d], *part.shape[d + 1 :]) for part, d in zip(batch, dim, strict=True))
        alike.setdefault(shape, []).append(batch)
    return [tuple(map(torch.cat, zip(*group, strict=True), dim)) for group in alike.values()]


def lowest(
    start: Tensor, losses: Callable[[Tensor], Iterable[Tensor]], total: int, *, prior: float = 0.0
) -> tuple[Tensor, float]:
    """The numbers of the lowest loss, by L-BFGS; the same in all processes, each of which has to call it.

    Args:
        start: where to begin.
        losses: of this process's batches, by the numbers: sums over samples, not means. No tensor in them may have been
            made in inference mode.
        total: samples of all processes.
        prior: a normal prior around 0, as much as so many samples count.

    Returns:
        The numbers, and the mean loss over all samples, the prior's part left out.
    """
    with torch.enable_grad():
        raw = start.detach().clone().requires_grad_()
        found = [0.0]
        rule = torch.optim.LBFGS([raw], max_iter=STEPS, line_search_fn="strong_wolfe")

        def objective() -> float:
            raw.grad = torch.zeros_like(raw)
            loss = raw.new_zeros(())
            for part in losses(raw):
                part.backward()
                loss += part.detach()
            both = ranks.total(torch.cat([loss[None], raw.grad.flatten()])) / total
            here = raw.detach()
            raw.grad = both[1:].view_as(raw) + prior * here / total
            found[0] = float(both[0])
            return found[0] + float(prior * here.square().sum() / 2 / total)

        rule.step(objective)
        objective()  # where it ended, not where it last looked
        return raw.detach(), found[0]
