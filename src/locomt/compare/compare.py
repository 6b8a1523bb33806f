"""Compare LoCoMT, its baselines and single modalities on one recipe: train, score over seeds, and cost them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from locomt.compare.best_part import below_best_part
from locomt.compare.doubts import doubts
from locomt.compare.late_average import late_average
from locomt.compare.models import Model, Point, best_values, tune
from locomt.compare.results import average_row, baseline_entry, model_rows, recipe_entry, run_entry
from locomt.compare.tuning import Grid, Values, points, with_values
from locomt.cost import CONVENTION
from locomt.data import label_list
from locomt.data.dealing import read_rows
from locomt.hints import did_you_mean, require_list
from locomt.nn.config import FUSIONS
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe
from locomt.train.runs import Runner, torch_threads


class CompareError(ValueError):
    """A comparison cannot be made."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What to compare.

    Attributes:
        name: the name of the recipe in tables and folders.
        recipe: what all models share; `model.fusion` and `train.seed` are set for each run.
        models: names that `model_recipe` knows.
        seeds: the seeds to train every model with.
        by_seed: of a seed, the recipe in place of `recipe` where what it starts from belongs to the seed.
        grid: fields to tune, the same for every model; empty for none.
        tune_seeds: seeds over which a point's validation metric is averaged. A run that serves tuning and comparison
            is trained once.
    """

    name: str
    recipe: Recipe
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    by_seed: Mapping[int, Recipe] = field(default_factory=dict)
    grid: Grid = field(default_factory=dict)
    tune_seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        require_list(self.models, "models")
        if not self.models:
            raise CompareError("expected one model or more to compare, got none")
        for what, values in (("models", self.models), ("seeds", self.seeds), ("tuning seeds", self.tune_seeds)):
            if len(set(values)) < len(values):
                raise CompareError(f"{what}: expected each once, got {', '.join(map(str, values))}")
        if not self.seeds or not self.tune_seeds:
            raise CompareError(f"{'seeds' if not self.seeds else 'tuning seeds'}: expected one or more, got none")
        if self.recipe.train.start is not None and set(self.models) != {self.recipe.model.fusion}:
            raise CompareError(
                "expected a recipe without train.start, so that all models begin alike, got "
                f"{self.recipe.train.start}; leave it out (of a search take anew.yaml), or compare "
                f"{self.recipe.model.fusion} alone"
            )
        for model in self.models:
            model_recipe(self.recipe, model)
        for point in points(self.grid):
            with_values(self.recipe, point)

    @property
    def metric(self) -> str:
        return metric_of(self.recipe)

    @property
    def parts(self) -> list[Model]:
        """The models, all with the same grid."""
        return [
            ComparedModel(group=self.name, name=name, recipe=self.recipe, grid=self.grid, tune_seeds=self.tune_seeds)
            for name in self.models
        ]


class ComparedModel(Model):
    """A model of a comparison. Its recipe is made from the common one after the values of a point are set."""

    def recipe_at(self, values: Values) -> Recipe:
        return model_recipe(with_values(self.recipe, values), self.name)


def metric_of(recipe: Recipe) -> str:
    """The metric that a recipe is judged by: the one it monitors, or the task's own if it monitors the loss."""
    return next(m for m in (recipe.monitor, *recipe.data.target.monitors) if m != "loss")


def model_recipe(recipe: Recipe, name: str) -> Recipe:
    """The recipe for `locomt`, `selfall`, `multiall`, `mbt`, or for modalities alone: `video`, `video+audio`.

    Raises:
        CompareError: the recipe has no such model.
    """
    known = (*FUSIONS, *recipe.data.modalities)
    if name == recipe.model.fusion:
        return recipe
    if name in FUSIONS:
        return recipe.fused(name)
    modalities = name.split("+")
    for modality in modalities:
        if modality not in recipe.data.modalities:
            hint = did_you_mean(modality, known, "several modalities are joined by '+'")
            raise CompareError(f"expected a model out of {', '.join(known)}, got {name!r}; {hint}")
    return _let_lack(recipe.only(*modalities))


def _let_lack(recipe: Recipe) -> Recipe:
    """Let a recipe skip samples without any of its modalities: `max_bad` allows for them besides bad files."""
    data = recipe.data
    columns = {source.column for source in data.modalities.values()}
    lacking: dict[str, list[bool]] = {}
    for row in read_rows(data):
        lacking.setdefault(row.split, []).append(not any(row.cells[column].strip() for column in columns))
    most = max((sum(rows) / len(rows) for rows in lacking.values()), default=0.0)
    return replace(recipe, data=replace(data, max_bad=min(1.0, data.max_bad + most)))


def all_models(recipe: Recipe) -> tuple[str, ...]:
    """LoCoMT, the baselines, and each modality alone that can answer for itself."""
    return with_parts(recipe, FUSIONS) if len(recipe.data.modalities) > 1 else ("selfall",)


def parts_of(recipe: Recipe, name: str) -> tuple[str, ...]:
    """The modalities of a fused model that can answer for themselves; none of a model of one modality."""
    names = tuple(recipe.data.modalities) if name in FUSIONS else tuple(name.split("+"))
    able = recipe.data.steps or recipe.data.pace or names
    return tuple(part for part in names if part in able) if len(names) > 1 else ()


def with_parts(recipe: Recipe, models: Sequence[str]) -> tuple[str, ...]:
    """Add to the models each modality alone of the fused ones, which a fused model has to beat.

    Nothing is added if `train.start` names weights to start from: they do not fit a model of one modality.
    """
    if recipe.train.start is not None:
        return tuple(models)
    return tuple(dict.fromkeys([*models, *(part for name in models for part in parts_of(recipe, name))]))


def compare(comparisons: Sequence[Comparison], root: Path, runner: Runner | None = None) -> dict[str, Any]:
    """Make comparisons.

    Every run has a directory under `root`. Finished runs are not repeated; stopped ones are resumed.

    Args:
        comparisons: what to compare; their names differ.
        root: the directory of the runs.
        runner: trains the models, first for tuning, then for comparison; by default one after the other and without
            output.

    Returns:
        A document of plain JSON types: `below`, where a fused model is worse than its best part (see
        `locomt.compare.best_part`); `cautions`, where the results say little (see `locomt.cautions`); `models`, a row
        for each; `averages`, the mean of the answers of the modalities alone, if all of them are compared; `baselines`,
        the scores of one answer for all samples; `recipes`; `tuning`, every point and which was chosen; `runs`, the
        metrics of each seed; `convention`.

    Raises:
        ValueError: a recipe, its data or `root` cannot be used.
    """
    runner = runner or Runner()
    names = [c.name for c in comparisons]
    if len(set(names)) < len(names):
        raise CompareError(f"expected recipes of different names, got {', '.join(names)}")
    labels = {c.name: label_list(c.recipe.data) for c in comparisons}
    # These raise for what cannot be used, before anything is trained.
    baselines = [baseline_entry(c.name, c.metric, c.recipe.data, labels[c.name]) for c in comparisons]
    recipes = [recipe_entry(c.name, c.metric, c.recipe, labels[c.name]) for c in comparisons]
    models = [model for c in comparisons for model in c.parts]
    tried = tune(models, root, runner)
    tuning = [_tuning_entry(model, own) for model, own in zip(models, tried, strict=True) if model.grid]
    chosen = {(entry["recipe"], entry["name"]): entry["chosen"] for entry in tuning}
    jobs = {
        (c.name, model.name, seed): replace(model, recipe=c.by_seed.get(seed, c.recipe)).job(
            root, chosen.get((c.name, model.name), {}), seed
        )
        for c in comparisons
        for model in c.parts
        for seed in c.seeds
    }
    outcomes = dict(zip(jobs, runner.do(list(jobs.values())), strict=True))
    runs = [run_entry(*key, jobs[key], outcome) for key, outcome in outcomes.items()]
    rows: list[dict[str, Any]] = []
    averages: list[dict[str, Any]] = []
    for c in comparisons:
        firsts = {model: Run.load(jobs[c.name, model, c.seeds[0]].directory) for model in c.models}
        own = [run for run in runs if run["recipe"] == c.name]
        rows += (found := model_rows(c.name, c.metric, firsts, own, threads=runner.threads))
        parts = tuple(dict.fromkeys(part for model in c.models for part in parts_of(c.recipe, model)))
        if len(parts) > 1 and set(parts) <= set(c.models):
            with torch_threads(runner.threads):
                scored = [late_average([jobs[c.name, part, seed].directory for part in parts]) for seed in c.seeds]
            averages.append(average_row([row for row in found if row["name"] in parts], scored))
    document = {
        "models": rows,
        "averages": averages,
        "baselines": baselines,
        "recipes": recipes,
        "tuning": tuning,
        "runs": runs,
        "convention": CONVENTION,
        "torch": torch.__version__,
        "threads": runner.threads,
    }
    return {
        "below": [vars(finding) for finding in below_best_part(document)],
        "cautions": doubts(document, {c.name: c.recipe.data for c in comparisons}),
        **document,
    }


def _tuning_entry(model: Model, tried: Sequence[Point]) -> dict[str, Any]:
    name = f"val_{model.recipe.monitor}"
    if any(point.score is None for point in tried):
        raise CompareError(
            f"{model.group}: a run of {model.name} has no {name}, by which to choose; tuning needs a validation split "
            f"(data.val_split is {model.recipe.data.val_split!r})"
        )
    return {
        "recipe": model.group,
        "name": model.name,
        "metric": name,
        "seeds": list(model.tune_seeds),
        "points": [{"values": dict(point.values), "mean": point.score} for point in tried],
        "chosen": best_values(model, tried),
    }
