"""Models that are compared: their runs, and how each is tuned on the validation split."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from locomt.compare.tuning import Grid, Values, folder_name, points, with_values
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, Runner


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that is compared with others.

    Attributes:
        group: the recipe or the data set that it belongs to.
        name: its name within the group.
        recipe: its recipe; the seed is set for each run.
        grid: fields of the recipe to tune; empty for none.
        tune_seeds: seeds to train each point of the grid with; if empty, the recipe's own.
    """

    group: str
    name: str
    recipe: Recipe
    grid: Grid = field(default_factory=dict)
    tune_seeds: tuple[int, ...] = ()

    def recipe_at(self, values: Values) -> Recipe:
        """The recipe at a point of the grid."""
        return with_values(self.recipe, values)

    def job(self, root: Path, values: Values, seed: int, *, test: bool = True) -> Job:
        """The training run at a point of the grid with one seed."""
        tuned = [folder_name(values)] if values else []
        folder = root.joinpath(self.group, re.sub(r"[^\w.+-]+", "_", self.name), *tuned)
        return Job.seeded(" ".join([self.group, self.name, *tuned]), self.recipe_at(values), seed, folder, test=test)


class Point(NamedTuple):
    """A point of a grid.

    Attributes:
        values: the values of the fields.
        score: the monitored metric on the validation split, as the mean over the seeds; None if it is undefined.
    """

    values: Mapping[str, str]
    score: float | None


def tune(models: Sequence[Model], root: Path, runner: Runner) -> list[list[Point]]:
    """Train and score every point of every model's grid. A model without a grid has no points.

    The runs are not scored on the test split, which has no part in the choice.
    """
    tried: list[tuple[int, Values]] = []
    jobs: list[list[Job]] = []
    for place, model in enumerate(models):
        for values in points(model.grid) if model.grid else []:
            tried.append((place, values))
            seeds = model.tune_seeds or (model.recipe.train.seed,)
            jobs.append([model.job(root, values, seed, test=False) for seed in seeds])
    outcomes = iter(runner.do([job for own in jobs for job in own]) if jobs else [])
    found: list[list[Point]] = [[] for _ in models]
    for (place, point), own in zip(tried, jobs, strict=True):
        name = f"val_{models[place].recipe.monitor}"
        scores = [next(outcomes).summary.get(name) for _ in own]
        defined = [score for score in scores if score is not None]
        found[place].append(Point(point, statistics.fmean(defined) if len(defined) == len(scores) else None))
    return found


def best_values(model: Model, tried: Sequence[Point]) -> Values:
    """The values with the best score, the first among equal ones; empty if no score is defined."""
    scores = {place: point.score for place, point in enumerate(tried) if point.score is not None}
    best = max if model.recipe.monitor_mode == "max" else min
    return tried[best(scores, key=scores.__getitem__)].values if scores else {}
