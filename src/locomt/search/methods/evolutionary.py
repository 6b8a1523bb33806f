"""Evolution of tables by Optuna's NSGA-II over metric and cost (Deb et al., 2002)."""

from __future__ import annotations

from typing import Any

from locomt.search.optuna.proposals import Steering, steer
from locomt.search.work import Work

POPULATION = 10


def run(work: Work) -> None:
    steer(work, "evolutionary", Steering(sampler=_sampler, with_cost=True, prune=False))


def _sampler(seed: int) -> Any:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=POPULATION, seed=seed)
