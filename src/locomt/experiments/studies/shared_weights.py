"""One elastic model at several budgets, against models trained for each of them: a part of the search study."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from locomt.data import label_list
from locomt.experiments.studies.arms import Arm, metric_of
from locomt.experiments.studies.numbers import mean_of
from locomt.experiments.studies.page import Document, scale_of, scores, spread, table
from locomt.experiments.studies.plan import Plan
from locomt.experiments.tasks import Task
from locomt.search.budget import Budget, Space
from locomt.search.elastic import table_within
from locomt.search.method import Search, with_table
from locomt.search.run import search
from locomt.train.jobs import device_of
from locomt.train.recipe import Recipe
from locomt.train.run import Run, evaluate
from locomt.views import SELF

BUDGETS = 5


def arms(plan: Plan, task: Task, recipe: Recipe, fresh: Recipe) -> list[Arm]:
    """For each budget, from the cheapest table to all self, an arm: the elastic model's best table, trained alone.

    The elastic model is the one that the search by `elastic` has trained. Its own test score with a table is in the
    facts, as `shared`.

    Args:
        plan: the study's.
        task, recipe: to search on.
        fresh: the recipe with seeds that no search has seen, to train from.
    """
    space = Space(recipe.fusion_config(label_list(recipe.data)))
    places = space.layers * space.heads
    least, most = places * min(map(space.pairs, space.views)), places * space.pairs(SELF)
    limits = [least + (most - least) * step // (BUDGETS - 1) for step in range(BUDGETS)]
    trained = plan.out / "searches" / task.name / "elastic" / "runs" / "elastic" / f"seed-{recipe.train.seed}"
    wanted = Search(
        recipe=recipe,
        budget=Budget(Fraction(most, space.multiall), "share"),
        method="elastic",
        tables=300 if plan.full else 12,
        source=trained,
    )
    folder = plan.out / "searches" / task.name / "elastic-front"
    search(
        wanted,
        folder,
        at_once=plan.at_once,
        threads=plan.threads,
        on_plan=plan.on_plan,
        on_run=plan.on_run,
    )
    run = Run.load(trained)
    found = []
    for limit in limits:
        chosen = table_within(run, Budget(Fraction(limit, space.multiall), "share"))
        run.model.set_views(chosen)
        shared = evaluate(run, recipe.data.test_split, device=device_of(recipe))["metrics"][metric_of(recipe)]
        facts = {"method": None, "budget": limit / space.multiall, "shared": shared, "views": str(chosen)}
        name = f"trained at {limit / space.multiall:.3f}"
        found.append(Arm(task=task.name, name=name, recipe=with_table(fresh, chosen), facts=facts))
    return found


def section(document: Document, task: Document) -> list[str]:
    """The elastic model and models trained alone, budget by budget."""
    scale = scale_of(task["metric"])
    rows: list[tuple[Any, ...]] = []
    gaps = []
    for arm in document["arms"]:
        if arm["task"] == task["name"] and arm["facts"].get("shared") is not None and scores(arm):
            alone = mean_of(list(scores(arm).values()))
            sign = -1 if task["better"] == "less" else 1
            gaps.append(scale * sign * (arm["facts"]["shared"] - alone.value))
            budget, shared = arm["facts"]["budget"], scale * arm["facts"]["shared"]
            rows.append((f"{budget:.3f}", f"{shared:.1f}", spread(alone, scale), f"{gaps[-1]:+.1f}"))
    if not rows:
        return []
    within = sum(gap >= -1 for gap in gaps)
    columns = ("budget, of Multiall's attention", "one elastic model", "trained for this table alone", "difference")
    return [
        f"One elastic model is less than a point below models trained alone at {within} of {len(gaps)} budgets:",
        "",
        *table(columns, rows),
    ]
