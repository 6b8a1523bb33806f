"""The arms of a study: models that are tuned alike, trained with every seed, scored on the test split, and costed."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from locomt import cautions
from locomt.compare.compare import all_models, metric_of, model_recipe
from locomt.compare.majority import majority
from locomt.compare.models import Model, Point, best_values, tune
from locomt.compare.tuning import Grid, Values
from locomt.cost import CONVENTION, flops, fusion_pairs, parameters, token_counts
from locomt.data import label_list
from locomt.data.overview import manifest_cautions
from locomt.files import to_json, write_text
from locomt.nn.config import FUSIONS
from locomt.studies.datasets import DataSet
from locomt.studies.numbers import scipy_stats
from locomt.studies.plan import Plan, StudyError
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory
from locomt.train.runs import Job, Outcome, device_of

RESULTS = "results.json"
DIVISORS = (1, 3)
"""Of the learning rate of a recipe: the rates that are tried."""

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Arm(Model):
    """A model of a study. Its group is the data set.

    Attributes:
        facts: what the study's page needs to know of it, in plain JSON types.
        most: use at most so many seeds, the first ones; None for all.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    most: int | None = None


def baselines(data_set: DataSet, recipe: Recipe) -> list[Arm]:
    """LoCoMT, Selfall, Multiall, MBT, and each modality alone that can answer for itself."""
    return [Arm(group=data_set.name, name=name, recipe=model_recipe(recipe, name)) for name in all_models(recipe)]


def alone(data_set: DataSet, recipe: Recipe, *, most: int | None = None) -> list[Arm]:
    """Each modality alone that can answer for itself, as a reference for fused models."""
    return [
        Arm(group=data_set.name, name=name, recipe=model_recipe(recipe, name), facts={"alone": True}, most=most)
        for name in all_models(recipe)
        if name not in FUSIONS
    ]


def two_rates(recipe: Recipe) -> Grid:
    """The tuning that all arms get: the recipe's learning rate and a third of it."""
    return {"train.learning_rate": tuple(f"{recipe.train.learning_rate / by:.3g}" for by in DIVISORS)}


def data_set_entry(data_set: DataSet, recipe: Recipe) -> Document:
    """The entry of a data set in `results.json`: what all its arms share."""
    metric = metric_of(recipe)
    config = recipe.fusion_config(label_list(recipe.data))
    constant = majority(recipe.data, label_list(recipe.data))
    return {
        "name": data_set.name,
        "about": data_set.about,
        "metric": metric,
        "better": recipe.data.target.better(metric),
        "tokens": token_counts(config),
        "fusion_layers": config.fusion_layers,
        "heads": config.num_heads,
        "majority": {"name": recipe.data.target.floor_name, "metrics": constant},
        "settings": {**(settings := recipe.to_dict()), "data": settings["data"] | {"manifest": "manifest.csv"}},
    }


def cost_of(recipe: Recipe) -> Document:
    """The FLOPs of a forward pass of one full-length sample, and the number of parameters."""
    config = recipe.fusion_config(label_list(recipe.data))
    found = flops(config)
    return {
        "gflops": found.total / 1e9,
        "attention_gflops": found.attention / 1e9,
        "fusion_score_pairs": sum(fusion_pairs(config)),
        "parameters": parameters(config),
    }


def machine() -> Document:
    """The date, the versions and the FLOP convention of results that are made now."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "convention": CONVENTION,
    }


def study(
    plan: Plan,
    name: str,
    data_sets: Sequence[str],
    arms_of: Callable[[DataSet, Recipe], Sequence[Arm]],
    grid_of: Callable[[Recipe], Grid] = two_rates,
) -> Document:
    """Run a study: tune each arm on the validation split, train it with every seed, score it on the test split.

    Tuning takes one run for each point of a grid, with the first seed. Training then goes seed by seed: all arms of all
    data sets have the first seed before any has the second. `results.json` is rewritten after every run. So a study
    that is stopped has whole seeds, and the same call resumes it.

    Returns:
        What `results.json` holds: `tasks`, an entry for each data set, and `arms`, each with a score for each seed.
    """
    scipy_stats()  # to fail now, not after the training
    document: Document = {"study": name, "command": plan.command, "full": plan.full, "complete": False, **machine()}
    document |= {"left_out": plan.left_out(data_sets), "cautions": [], "tasks": [], "arms": []}
    arms: list[Arm] = []
    for data_set in plan.chosen(data_sets):
        recipe = plan.recipe(data_set)
        document["tasks"].append(data_set_entry(data_set, recipe))
        document["cautions"] += [f"{data_set.name}: {line}" for line in manifest_cautions(recipe.data)]
        document["device"] = str(device_of(recipe))
        own = arms_of(data_set, recipe)
        if len({arm.name for arm in own}) < len(own):
            raise StudyError(f"{data_set.name}: expected arms of different names, got {[arm.name for arm in own]}")
        arms += [replace(arm, grid=grid_of(recipe)) for arm in own]
    tried = tune(arms, plan.runs, plan.runner)
    chosen = [best_values(arm, own) for arm, own in zip(arms, tried, strict=True)]
    document["arms"] = [_arm_entry(*told) for told in zip(arms, tried, chosen, strict=True)]
    runs = _score(plan, arms, chosen, document)
    document["cautions"] += _cautions(document, runs)
    document["complete"] = True
    write_text(plan.out / RESULTS, to_json(document, indent=1) + "\n")
    return document


def _arm_entry(arm: Arm, tried: Sequence[Point], chosen: Values) -> Document:
    return {
        "task": arm.group,
        "name": arm.name,
        "facts": dict(arm.facts),
        **cost_of(arm.recipe),
        "chosen": chosen,
        "tuning": [{"values": dict(point.values), "validation": point.score} for point in tried],
        "runs": [],
    }


def _score(plan: Plan, arms: Sequence[Arm], chosen: Sequence[Values], document: Document) -> dict[str, list[Path]]:
    """Train and score all arms; the folders of the runs of each."""
    seeds = [plan.seeds_of(arm.recipe)[: arm.most] for arm in arms]
    planned = [
        (place, own[turn]) for turn in range(max(map(len, seeds))) for place, own in enumerate(seeds) if turn < len(own)
    ]
    jobs: dict[str, Job] = {}  # arms may be the same model, which is trained once
    takers: dict[Path, list[int]] = {}
    for place, seed in planned:
        own = arms[place].job(plan.runs, chosen[place], seed)
        job = jobs.setdefault(to_json(own.recipe.to_dict()), own)
        takers.setdefault(job.directory, []).append(place)
    metrics = {entry["name"]: entry["metric"] for entry in document["tasks"]}

    def keep(job: Job, outcome: Outcome) -> None:
        assert outcome.scores is not None
        for place in takers[job.directory]:
            entry = document["arms"][place]
            entry["runs"].append(
                {
                    "seed": job.recipe.train.seed,
                    "score": outcome.scores["metrics"][metrics[entry["task"]]],
                    "validation": outcome.summary.get(f"val_{job.recipe.monitor}"),
                    "metrics": outcome.scores["metrics"],
                    "seconds": round(outcome.seconds, 1),
                }
            )
            entry["runs"].sort(key=lambda run: run["seed"])
        write_text(plan.out / RESULTS, to_json(document, indent=1) + "\n")

    plan.runner.do(list(jobs.values()), keep)
    folders: dict[str, list[Path]] = {}
    for folder, places in takers.items():
        for place in places:
            folders.setdefault(f"{arms[place].group}: {arms[place].name}", []).append(folder)
    return folders


def _cautions(document: Document, runs: Mapping[str, Sequence[Path]]) -> list[str]:
    """Where the scores say little; ties and spread are what the page's intervals and tests are about."""
    seeds = min((len(arm["runs"]) for arm in document["arms"]), default=0)
    histories = {name: [RunDirectory(folder).read_history() for folder in own] for name, own in runs.items()}
    return [*cautions.of_seeds(seeds), *cautions.of_losses(histories)]
