"""Tables proposed by a model of what was good before: the tree-structured Parzen estimator (Bergstra et al., 2011)."""

from __future__ import annotations

from typing import Any

from locomt.search.optuna.proposals import Steering, steer
from locomt.search.work import Work


def run(work: Work) -> None:
    """Runs whose validation score falls below the median of those before them, at the same epoch, are given up."""
    steer(work, "bayesian", Steering(sampler=_sampler, with_cost=False, prune=True))


def _sampler(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=6, seed=seed)
