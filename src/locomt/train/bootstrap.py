"""Intervals of any metric, by drawing the samples anew (Efron, Annals of Statistics 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from locomt.tasks import Task

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped
    from torch import Tensor

DRAWS = 200
MOST = 4_000_000
"""Numbers that are scored in all draws together: a few seconds."""


def intervals(
    task: Task,
    labels: Sequence[str],
    logits: Float[Tensor, "samples outputs"],
    truths: Shaped[Tensor, "samples *rest"],
) -> dict[str, tuple[float, float]]:
    """The middle 95 % of each metric over draws of as many samples, with repetition; always the same draws.

    Args:
        task: of the model.
        labels: the classes.
        logits: of each sample.
        truths: its label.

    Returns:
        Metric -> both ends, of those that every draw defines. None of tasks with several answers a sample, which are
        not independent, nor of so many samples that the draws would take long.
    """
    count = len(logits)
    if task.stepwise or task.in_time or count < 2 or DRAWS * logits.numel() > MOST:
        return {}
    generator, found = torch.Generator().manual_seed(0), dict[str, list[float]]()
    scores = task.scores(labels)
    for _ in range(DRAWS):
        drawn = torch.randint(count, (count,), generator=generator)
        scores.reset()
        scores.update(logits[drawn], truths[drawn])
        for name, value in scores.compute()["metrics"].items():
            if value is not None and name in task.monitors:
                found.setdefault(name, []).append(value)
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    whole = {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items() if len(values) == DRAWS}
    return {name: (float(low), float(high)) for name, (low, high) in ((n, v.quantile(ends)) for n, v in whole.items())}
