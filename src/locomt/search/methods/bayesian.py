"""Bayesian optimisation: tables proposed by the tree-structured Parzen estimator (Bergstra et al., 2011)."""

from __future__ import annotations

from typing import Any

from locomt.search.optuna.proposals import Steering, steer
from locomt.search.work import Work


def run(work: Work) -> None:
    """Search; prune runs whose validation score is below the median of earlier runs at the same epoch."""
    steer(work, "bayesian", Steering(sampler=_sampler, with_cost=False, prune=True))


def _sampler(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=6, seed=seed)
