"""Compare elastic models at several budgets with models trained for each budget: a part of the search study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from locomt.compare.compare import metric_of
from locomt.data import label_list
from locomt.search.budget import Budget
from locomt.search.candidate import dense_job, with_table
from locomt.search.front import best
from locomt.search.methods.elastic import elastic_job
from locomt.search.question import Question
from locomt.search.search import search
from locomt.search.space import Space
from locomt.studies.arms import Arm
from locomt.studies.datasets import DataSet
from locomt.studies.numbers import difference, mean_of
from locomt.studies.page import Document, arms_of, scale_of, scores, spread, table, told
from locomt.studies.plan import Plan
from locomt.train.evaluation import Run, evaluate
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, device_of
from locomt.views import SELF, ViewTable

BUDGETS = 5
SEEDS = 5
"""Most seeds of elastic models and of models trained alone. An elastic model and its dense one take eight runs."""
SANDWICH = ("self", "cross", "random")
"""The tables of a training step by the sandwich rule (Yu & Huang, ICCV 2019): both ends of the range of costs, and a
random one. The recipe's default, which draws the most expensive table only by chance, is compared with it."""


def arms(plan: Plan, data_set: DataSet, recipe: Recipe, fresh: Recipe, trained: Path) -> list[Arm]:
    """Make an arm for each budget: the table within it that the elastic model scores best, trained alone.

    The budgets divide the range of costs, from the cheapest table to all self, into equal parts. A budget's table must
    cost more than the budget below, so that each budget has a table of its own.

    Args:
        plan: the plan of the study.
        data_set, recipe: what was searched on.
        fresh: the recipe, with seeds that no search has used, for the models trained alone.
        trained: the elastic model of a search, which chooses the tables. Elastic models of the other seeds are trained,
            and as many by the sandwich rule. The facts of an arm have their test scores with its table, as `shared`
            and `sandwich`.
    """
    space = Space(recipe.fusion_config(label_list(recipe.data)))
    every = [space.prices(layer) for layer in range(space.layers)]
    least, most = (
        space.heads * sum(costs) for costs in ([min(own.values()) for own in every], [own[SELF] for own in every])
    )
    question = Question(
        recipe=recipe,
        budget=Budget(Fraction(most, space.multiall), "share"),
        method="elastic",
        tables=300 if plan.full else 12,
        source=trained,
    )
    folder = plan.out / "searches" / data_set.name
    found = search(question, folder / "elastic-front")
    own = trained.parent.parent
    dense = [dense_job(recipe, seed, own) for seed in plan.seeds_of(recipe)[:SEEDS]]
    plan.runner.do(dense)
    epochs = Run.load(trained).recipe.train.epochs
    sandwich = replace(recipe, train=replace(recipe.train, elastic_tables=SANDWICH))
    models = {
        kind: _elastic(plan, [elastic_job(basis, job.directory, epochs, job.recipe.train.seed, root) for job in dense])
        for kind, basis, root in (("shared", recipe, own), ("sandwich", sandwich, folder / "elastic-sandwich"))
    }
    made = []
    below = -1
    for step in range(1, BUDGETS + 1):
        limit = least + (most - least) * step // BUDGETS
        inside = [entry for entry in found["tables"] if below < round(entry["share"] * space.multiall) <= limit]
        below = limit
        if not inside:
            continue
        chosen = ViewTable.parse(best(inside, found["better"])["views"], space.modalities)
        scored = {kind: [_test_score(run, chosen, recipe) for run in runs] for kind, runs in models.items()}
        facts = {"budget": limit / space.multiall, **scored, "views": str(chosen)}
        name = f"trained at {limit / space.multiall:.3f}"
        made.append(Arm(group=data_set.name, name=name, recipe=with_table(fresh, chosen), facts=facts, most=SEEDS))
    return made


def _elastic(plan: Plan, jobs: Sequence[Job]) -> list[Run]:
    plan.runner.do(jobs)
    return [Run.load(job.directory) for job in jobs]


def _test_score(run: Run, table: ViewTable, recipe: Recipe) -> float:
    run.model.set_views(table)
    metrics = evaluate(run, recipe.data.test_split, device=device_of(recipe))["metrics"]
    return float(metrics[metric_of(recipe)])


def section(document: Document, task: Document) -> list[str]:
    """Compare models trained alone, elastic models, and those of the sandwich rule at each budget."""
    scale, sign = scale_of(task["metric"]), -1 if task["better"] == "less" else 1
    rows: list[Sequence[Any]] = []
    gaps: list[tuple[float, float]] = []
    own = [arm for arm in arms_of(document, task["name"]) if arm["facts"].get("shared") and scores(arm)]
    for arm in own:
        facts = arm["facts"]
        alone, shared, sandwich = (
            mean_of(list(values)) for values in (scores(arm).values(), facts["shared"], facts["sandwich"])
        )
        gap, other = (sign * scale * (elastic.value - alone.value) for elastic in (shared, sandwich))
        gaps.append((gap, other))
        # models of the same seed start from the same dense model
        paired = difference(*(dict(enumerate(sign * v for v in facts[kind])) for kind in ("shared", "sandwich")))
        models = (spread(what, scale) for what in (alone, shared, sandwich))
        rows.append((f"{facts['budget']:.3f}", *models, f"{gap:+.1f}", f"{other:+.1f}", told(paired, scale)))
    if not rows:
        return []
    columns = (
        "budget, of Multiall's attention",
        "trained for this table alone",
        "elastic",
        "sandwich rule",
        "elastic less alone",
        "sandwich less alone",
        "elastic less sandwich, paired",
    )
    within, beside = (sum(found >= -1 for found in column) for column in zip(*gaps, strict=True))
    return [
        f"Elastic models are less than a point below models trained alone, or above them, at {within} of {len(rows)} "
        f"budgets; where each step takes all self, all cross and a random table, the sandwich rule, instead of all "
        f"cross and two random ones, at {beside}. The table at a budget is the best of those dearer than the budget in "
        "the row above, by the validation split and the first elastic model; the intervals are over "
        f"{len(own[0]['facts']['shared'])} elastic models and {len(scores(own[0]))} models trained alone.",
        "",
        *table(columns, rows),
    ]
