"""Elastic models at several budgets, against models trained for each of them: a part of the search study."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from locomt.data import label_list
from locomt.experiments.studies.arms import Arm, metric_of
from locomt.experiments.studies.numbers import mean_of
from locomt.experiments.studies.page import Document, arms_of, scale_of, scores, spread, table
from locomt.experiments.studies.plan import Plan
from locomt.experiments.tasks import Task
from locomt.search.budget import Budget, Space
from locomt.search.method import dense_job, with_table
from locomt.search.methods.elastic import elastic_job
from locomt.search.results import best
from locomt.search.run import search
from locomt.search.wanted import Search
from locomt.train.jobs import device_of
from locomt.train.recipe import Recipe
from locomt.train.run import Run, evaluate
from locomt.views import SELF, ViewTable

BUDGETS = 5
SEEDS = 5
"""Models at most, elastic ones and those trained alone: an elastic one takes eight runs, with its dense one."""


def arms(plan: Plan, task: Task, recipe: Recipe, fresh: Recipe, trained: Path) -> list[Arm]:
    """For each budget an arm: the table in it that the elastic model scored best, trained alone.

    The budgets cut the range of costs, from the cheapest table to all self, into equal parts. So that each has a table
    of its own, the table must be dearer than the budget below.

    Args:
        plan: the study's.
        task, recipe: that were searched on.
        fresh: the recipe with seeds that no search has seen, to train from.
        trained: the elastic model of a search, by which tables are chosen. Those of the other seeds are trained; the
            test score of each with a table is in the facts, as `shared`.
    """
    space = Space(recipe.fusion_config(label_list(recipe.data)))
    places = space.layers * space.heads
    least, most = places * min(map(space.pairs, space.views)), places * space.pairs(SELF)
    wanted = Search(
        recipe=recipe,
        budget=Budget(Fraction(most, space.multiall), "share"),
        method="elastic",
        tables=300 if plan.full else 12,
        source=trained,
    )
    found = search(wanted, plan.out / "searches" / task.name / "elastic-front")
    runs = _elastic(plan, recipe, trained)
    made = []
    below = -1
    for step in range(1, BUDGETS + 1):
        limit = least + (most - least) * step // BUDGETS
        inside = [entry for entry in found["tables"] if below < round(entry["share"] * space.multiall) <= limit]
        below = limit
        if not inside:
            continue
        chosen = ViewTable.parse(best(inside, found["better"])["views"], space.modalities)
        shared = []
        for run in runs:
            run.model.set_views(chosen)
            shared.append(evaluate(run, recipe.data.test_split, device=device_of(recipe))["metrics"][metric_of(recipe)])
        facts = {"method": None, "budget": limit / space.multiall, "shared": shared, "views": str(chosen)}
        name = f"trained at {limit / space.multiall:.3f}"
        made.append(Arm(task=task.name, name=name, recipe=with_table(fresh, chosen), facts=facts, most=SEEDS))
    return made


def _elastic(plan: Plan, recipe: Recipe, trained: Path) -> list[Run]:
    """An elastic model a seed, `SEEDS` at most; that of the search is the first."""
    root, epochs = trained.parent.parent, Run.load(trained).recipe.train.epochs
    seeds = plan.seeds_of(recipe)[:SEEDS]
    dense = [dense_job(recipe, seed, root) for seed in seeds]
    plan.have(dense)
    jobs = [elastic_job(recipe, own.directory, epochs, seed, root) for own, seed in zip(dense, seeds, strict=True)]
    plan.have(jobs)
    return [Run.load(job.directory) for job in jobs]


def section(document: Document, task: Document) -> list[str]:
    """The elastic models and models trained alone, budget by budget."""
    scale, sign = scale_of(task["metric"]), -1 if task["better"] == "less" else 1
    rows: list[Sequence[Any]] = []
    within = 0
    own = [arm for arm in arms_of(document, task["name"]) if arm["facts"].get("shared") and scores(arm)]
    for arm in own:
        alone = mean_of(list(scores(arm).values()))
        shared = mean_of(arm["facts"]["shared"])
        gap = sign * scale * (shared.value - alone.value)
        within += gap >= -1
        rows.append((f"{arm['facts']['budget']:.3f}", spread(shared, scale), spread(alone, scale), f"{gap:+.1f}"))
    if not rows:
        return []
    columns = ("budget, of Multiall's attention", "elastic", "trained for this table alone", "difference")
    return [
        f"Elastic models are less than a point below models trained alone, or above them, at {within} of {len(rows)} "
        "budgets. The table at a budget is the best of those dearer than the budget above it, by the validation split "
        f"and the first elastic model; the intervals are over {len(own[0]['facts']['shared'])} elastic models and "
        f"{len(scores(own[0]))} models trained alone.",
        "",
        *table(columns, rows),
    ]
