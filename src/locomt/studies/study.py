"""Models that are compared on a task: tuned alike, trained with every seed, scored on the test split, and costed."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from locomt.compare.compare import all_models, metric_of, model_recipe
from locomt.compare.majority import majority
from locomt.compare.tuning import Grid, folder_name, points, with_values
from locomt.cost import CONVENTION, flops, fusion_pairs, parameters, token_counts
from locomt.data import label_list
from locomt.files import to_json, write_text
from locomt.nn.config import FUSIONS
from locomt.studies.datasets import Task
from locomt.studies.numbers import scipy_stats
from locomt.studies.plan import Plan, StudyError
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, Outcome, device_of

RESULTS = "results.json"

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model of a study.

    Attributes:
        task: that it is trained on.
        name: within the task.
        recipe: what to train, whatever the seed.
        facts: what the study wants to know of it again, in plain JSON types.
        most: runs at most, the first ones, where fewer seeds than the other arms have are enough.
    """

    task: str
    name: str
    recipe: Recipe
    facts: Mapping[str, Any] = field(default_factory=dict)
    most: int | None = None

    def job(self, root: Path, values: Mapping[str, str], seed: int, *, test: bool) -> Job:
        recipe = with_values(self.recipe, values)
        tuned = [folder_name(values)] if values else []
        folder = re.sub(r"[^\w.+-]+", "_", self.name)
        return Job(
            label=" ".join([self.task, self.name, *tuned, f"seed {seed}"]),
            recipe=replace(recipe, train=replace(recipe.train, seed=seed)),
            directory=root.joinpath(self.task, folder, *tuned, f"seed-{seed}"),
            test=test,
        )


def baselines(task: Task, recipe: Recipe) -> list[Arm]:
    """LoCoMT, Selfall, Multiall and MBT, and each modality alone that can answer for itself."""
    return [Arm(task=task.name, name=name, recipe=model_recipe(recipe, name)) for name in all_models(recipe)]


def alone(task: Task, recipe: Recipe, *, most: int | None = None) -> list[Arm]:
    """Each modality alone that can answer for itself, beside which fused models are to be seen."""
    return [
        Arm(task=task.name, name=name, recipe=model_recipe(recipe, name), facts={"alone": True}, most=most)
        for name in all_models(recipe)
        if name not in FUSIONS
    ]


def two_rates(recipe: Recipe) -> Grid:
    """The equal tuning effort of the studies: the recipe's learning rate and a third of it."""
    rate = recipe.train.learning_rate
    return {"train.learning_rate": (f"{rate:.3g}", f"{rate / 3:.3g}")}


def task_entry(task: Task, recipe: Recipe) -> Document:
    """What all arms of a task have in common."""
    metric = metric_of(recipe)
    config = recipe.fusion_config(label_list(recipe.data))
    constant = majority(recipe.data, label_list(recipe.data))
    return {
        "name": task.name,
        "about": task.about,
        "metric": metric,
        "better": recipe.data.target.better(metric),
        "tokens": token_counts(config),
        "fusion_layers": config.fusion_layers,
        "heads": config.num_heads,
        "majority": {"name": recipe.data.target.floor_name, "metrics": constant},
        "settings": {**(settings := recipe.to_dict()), "data": settings["data"] | {"manifest": "manifest.csv"}},
    }


def cost_of(recipe: Recipe) -> Document:
    """FLOPs of one full sample forward, and parameters."""
    config = recipe.fusion_config(label_list(recipe.data))
    found = flops(config)
    return {
        "gflops": found.total / 1e9,
        "attention_gflops": found.attention / 1e9,
        "fusion_score_pairs": sum(fusion_pairs(config)),
        "parameters": parameters(config),
    }


def machine() -> Document:
    """What figures were made with."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "convention": CONVENTION,
    }


def study(
    plan: Plan,
    name: str,
    tasks: Sequence[str],
    arms_of: Callable[[Task, Recipe], Sequence[Arm]],
    grid_of: Callable[[Recipe], Grid] = two_rates,
) -> Document:
    """Make a study of arms: tune each by the validation split, train it with every seed, score the test split.

    Runs go seed by seed, all arms of all tasks with the first one before any with the second, and `results.json` is
    renewed with each of them: a study that is stopped has whole seeds, and the same call goes on.

    Returns:
        What `results.json` holds: `tasks`, and `arms` with a score a seed.
    """
    scipy_stats()  # now, and not when everything is trained
    document: Document = {"study": name, "command": plan.command, "full": plan.full, "complete": False, **machine()}
    document |= {"left_out": plan.left_out(tasks), "tasks": [], "arms": []}
    arms: list[Arm] = []
    grids: list[Grid] = []
    for task in plan.chosen(tasks):
        recipe = plan.recipe(task)
        document["tasks"].append(task_entry(task, recipe))
        document["device"] = str(device_of(recipe))
        own = arms_of(task, recipe)
        if len({arm.name for arm in own}) < len(own):
            raise StudyError(f"{task.name}: expected arms of different names, got {[arm.name for arm in own]}")
        arms += own
        grids += [grid_of(recipe)] * len(own)
    chosen = _tune(plan, arms, grids, document)
    _score(plan, arms, chosen, document)
    document["complete"] = True
    write_text(plan.out / RESULTS, to_json(document, indent=1) + "\n")
    return document


def _tune(plan: Plan, arms: Sequence[Arm], grids: Sequence[Grid], document: Document) -> list[dict[str, str]]:
    """For every arm the point of its grid with the best validation score, of one run each with the first seed."""
    tried = [
        (place, values)
        for place, grid in enumerate(grids)
        for values in (points(grid) if len(points(grid)) > 1 else [])
    ]
    jobs = [arms[place].job(plan.runs, values, arms[place].recipe.train.seed, test=False) for place, values in tried]
    outcomes = plan.have(jobs) if jobs else []
    chosen: list[dict[str, str]] = [{} for _ in arms]
    tuning: list[list[Document]] = [[] for _ in arms]
    for (place, values), outcome in zip(tried, outcomes, strict=True):
        score = outcome.summary.get(f"val_{arms[place].recipe.monitor}")
        tuning[place].append({"values": dict(values), "validation": score})
    for place, found in enumerate(tuning):
        scored = [entry for entry in found if entry["validation"] is not None]
        if scored:
            best = max if arms[place].recipe.monitor_mode == "max" else min
            chosen[place] = best(scored, key=lambda entry: entry["validation"])["values"]
    for arm, values, found in zip(arms, chosen, tuning, strict=True):
        document["arms"].append(
            {
                "task": arm.task,
                "name": arm.name,
                "facts": dict(arm.facts),
                **cost_of(arm.recipe),
                "chosen": values,
                "tuning": found,
                "runs": [],
            }
        )
    return chosen


def _score(plan: Plan, arms: Sequence[Arm], chosen: Sequence[Mapping[str, str]], document: Document) -> None:
    seeds = [plan.seeds_of(arm.recipe)[: arm.most] for arm in arms]
    planned = [
        (place, own[turn]) for turn in range(max(map(len, seeds))) for place, own in enumerate(seeds) if turn < len(own)
    ]
    jobs: dict[str, Job] = {}  # arms may turn out the same model, whose runs are had once
    takers: dict[Path, list[int]] = {}
    for place, seed in planned:
        own = arms[place].job(plan.runs, chosen[place], seed, test=True)
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

    plan.have(list(jobs.values()), keep)
