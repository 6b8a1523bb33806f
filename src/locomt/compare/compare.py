"""LoCoMT, its baselines and single modalities on one recipe: trained or found, scored over seeds, and costed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from locomt.compare.results import baseline_entry, model_rows, recipe_entry, run_entry
from locomt.compare.tuning import Grid, Values, folder_name, points, with_values
from locomt.cost import CONVENTION
from locomt.data import label_list, read_manifest
from locomt.hints import did_you_mean, require_list
from locomt.nn.config import FUSIONS
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, Outcome, do_all


class CompareError(ValueError):
    """A comparison that cannot be made: says what was expected and what came."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What to compare.

    Attributes:
        name: of the recipe, in tables and folders.
        recipe: what all models have in common; `model.fusion` and `train.seed` are set for each run.
        models: names as `model_recipe` knows them.
        seeds: a run each.
        grid: fields to tune, for every model alike; empty for none.
        tune_seeds: over which a point's validation metric is averaged. A run that is both tuned on and compared is
            done once.
    """

    name: str
    recipe: Recipe
    models: tuple[str, ...]
    seeds: tuple[int, ...]
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

    def job(self, root: Path, model: str, values: Values, seed: int, *, test: bool = True) -> Job:
        """The run of one model at one point of the grid with one seed."""
        recipe = model_recipe(with_values(self.recipe, values), model)
        tuned = [folder_name(values)] if self.grid else []
        return Job(
            label=" ".join([self.name, model, *tuned, f"seed {seed}"]),
            recipe=replace(recipe, train=replace(recipe.train, seed=seed)),
            directory=root.joinpath(self.name, model, *tuned, f"seed-{seed}"),
            test=test,
        )


def metric_of(recipe: Recipe) -> str:
    """What a recipe is judged by: what it monitors; a task's own metric where that is the loss, no test score."""
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
    """The recipe, content with samples that have none of its modalities: those are skipped, but are not bad files."""
    data = recipe.data
    columns = {source.column for source in data.modalities.values()}
    lacking: dict[str, list[bool]] = {}
    for row in read_manifest(data.manifest, data.columns):
        lacking.setdefault(row.split, []).append(not any(row.cells[column].strip() for column in columns))
    most = max((sum(rows) / len(rows) for rows in lacking.values()), default=0.0)
    return replace(recipe, data=replace(data, max_bad=min(1.0, data.max_bad + most)))


def all_models(recipe: Recipe) -> tuple[str, ...]:
    """LoCoMT, the baselines, and each modality alone that can answer for itself."""
    names = tuple(recipe.data.modalities)
    if len(names) == 1:
        return ("selfall",)
    return (*FUSIONS, *(recipe.data.steps or recipe.data.pace or names))


def compare(
    comparisons: Sequence[Comparison],
    root: Path,
    *,
    at_once: int = 1,
    threads: int = 1,
    on_plan: Callable[[int], object] = lambda runs: None,
    on_run: Callable[[Job, Outcome], object] = lambda job, outcome: None,
) -> dict[str, Any]:
    """Make comparisons.

    Runs are kept under `root`, a directory each; those found finished there are not done again, those begun are gone
    on with.

    Args:
        comparisons: what to compare, by different names.
        root: where runs are kept.
        at_once: runs done at a time, each in a process of its own. The results do not depend on it.
        threads: of each run.
        on_plan: told how many runs are about to be had, before tuning and again before the runs that are compared.
        on_run: told every run that was had.

    Returns:
        A document of plain JSON types: `models`, a row each; `baselines`, the scores of one answer for all samples;
        `recipes`; `tuning`, every point tried and which was chosen; `runs`, the metrics of each seed; `convention`.

    Raises:
        ValueError: something in a recipe, its data or `root` cannot serve.
    """
    names = [c.name for c in comparisons]
    if len(set(names)) < len(names):
        raise CompareError(f"expected recipes of different names, got {', '.join(names)}")
    labels = {c.name: label_list(c.recipe.data) for c in comparisons}
    # Before anything is trained: what cannot serve shows here.
    baselines = [baseline_entry(c.name, c.metric, c.recipe.data, labels[c.name]) for c in comparisons]
    recipes = [recipe_entry(c.name, c.metric, c.recipe, labels[c.name]) for c in comparisons]

    def have(jobs: Sequence[Job]) -> list[Outcome]:
        on_plan(len(jobs))
        return do_all(jobs, at_once=at_once, threads=threads, on_done=on_run)

    tuning = _tune([c for c in comparisons if c.grid], root, have)
    jobs = {
        (c.name, model, seed): c.job(root, model, tuning[c.name, model]["chosen"] if c.grid else {}, seed)
        for c in comparisons
        for model in c.models
        for seed in c.seeds
    }
    outcomes = dict(zip(jobs, have(list(jobs.values())), strict=True))
    runs = [run_entry(*key, jobs[key], outcome) for key, outcome in outcomes.items()]
    rows: list[dict[str, Any]] = []
    for c in comparisons:
        firsts = {model: Run.load(jobs[c.name, model, c.seeds[0]].directory) for model in c.models}
        own = [run for run in runs if run["recipe"] == c.name]
        rows += model_rows(c.name, c.metric, firsts, own, threads=threads)
    return {
        "models": rows,
        "baselines": baselines,
        "recipes": recipes,
        "tuning": list(tuning.values()),
        "runs": runs,
        "convention": CONVENTION,
        "torch": torch.__version__,
        "threads": threads,
    }


def _tune(
    comparisons: Sequence[Comparison], root: Path, have: Callable[[Sequence[Job]], list[Outcome]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Every point of the grid for every model, and the best by the mean validation metric (the first among equals).

    The runs are not scored on the test split: it has no part in the choice.
    """
    plan = [(c, model, values) for c in comparisons for model in c.models for values in points(c.grid)]
    jobs = [c.job(root, model, values, seed, test=False) for c, model, values in plan for seed in c.tune_seeds]
    outcomes = iter(have(jobs) if jobs else [])
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for c, model, values in plan:
        recipe = c.recipe
        name = f"val_{recipe.monitor}"
        found_scores = [next(outcomes).summary.get(name) for _ in c.tune_seeds]
        scores = [score for score in found_scores if score is not None]
        if len(scores) < len(found_scores):
            raise CompareError(
                f"{c.name}: a run of {model} has no {name}, by which to choose; tuning needs a validation split "
                f"(data.val_split is {recipe.data.val_split!r})"
            )
        entry = found.setdefault(
            (c.name, model),
            {"recipe": c.name, "name": model, "metric": name, "seeds": list(c.tune_seeds), "points": []},
        )
        entry["points"].append({"values": dict(values), "mean": statistics.fmean(scores)})
        best = max if recipe.monitor_mode == "max" else min
        entry["chosen"] = best(entry["points"], key=lambda point: point["mean"])["values"]
    return found
