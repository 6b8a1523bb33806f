"""Models side by side: how each is tuned by the validation split, and which runs it takes."""

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
    """A model beside others.

    Attributes:
        group: the recipe or the data set that it belongs to.
        name: within the group.
        recipe: of the model, whatever the seed.
        grid: fields of the recipe to tune; empty for none.
        tune_seeds: of the runs of each point of the grid; the recipe's own where empty.
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
        """The run at a point of the grid, with one seed."""
        tuned = [folder_name(values)] if values else []
        folder = root.joinpath(self.group, re.sub(r"[^\w.+-]+", "_", self.name), *tuned)
        return Job.seeded(" ".join([self.group, self.name, *tuned]), self.recipe_at(values), seed, folder, test=test)


class Point(NamedTuple):
    """A point of a grid.

    Attributes:
        values: of the fields.
        score: what the recipe monitors on the validation split, the mean over the seeds; None where it is undefined.
    """

    values: Mapping[str, str]
    score: float | None


def tune(models: Sequence[Model], root: Path, runner: Runner) -> list[list[Point]]:
    """Try every point of every model's grid; no points of a model without one.

    The runs are not scored on the test split: it has no part in the choice.
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
    """The values of the best score, the first among equals; none where no score is defined."""
    scores = {place: point.score for place, point in enumerate(tried) if point.score is not None}
    best = max if model.recipe.monitor_mode == "max" else min
    return tried[best(scores, key=scores.__getitem__)].values if scores else {}
