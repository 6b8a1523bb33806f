"""The layer-wise strategies at equal cost: the paper's third experiment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from locomt.studies.arms import Arm, alone, study
from locomt.studies.datasets import DataSet
from locomt.studies.page import (
    Document,
    arm_table,
    comparison_table,
    head,
    how,
    verdicts,
)
from locomt.studies.plan import Plan
from locomt.studies.plots import by_arm
from locomt.train.recipe import Recipe
from locomt.views import STRATEGIES, ViewTable

NAME = "layerwise"
TITLE = "Where in depth the cross heads sit"
QUESTION = (
    "At the same number of cross heads, does it matter in which layers they are (the paper's third experiment)? The "
    "paper finds self below and cross above to be better; `descending` is the mirror of that."
)
DATA_SETS = ("grounding", "qa", "modalities3", "digits", "mosi")
PAIRS = (("ascending", "descending"), ("ascending", "spread"), ("descending", "spread"), ("bottleneck", "spread"))


def run(plan: Plan) -> dict[str, Any]:
    def arms(data_set: DataSet, recipe: Recipe) -> list[Arm]:
        """Make one arm for each strategy. Strategies that make the same table share an arm."""
        names: dict[ViewTable, list[str]] = {}
        model = recipe.model
        for strategy in STRATEGIES:
            table = ViewTable.strategy(
                strategy,
                tuple(recipe.data.modalities),
                layers=model.fusion_layers,
                heads=model.num_heads,
                cross=model.cross,
                seed=model.views_seed,
            )
            names.setdefault(table, []).append(strategy)
        by_hand = [
            Arm(
                group=data_set.name,
                name=own[0],
                recipe=replace(recipe, model=replace(model, fusion="locomt", views=str(table))),
                facts={"strategies": own, "views": str(table)},
            )
            for table, own in names.items()
        ]
        return by_hand + alone(data_set, recipe)

    return study(plan, NAME, DATA_SETS, arms)


def summary(document: Document) -> str:
    return verdicts(document, PAIRS[:2])


def page(document: Document) -> str:
    lines = head(document, TITLE, QUESTION)
    lines += ["", "## Answer", "", summary(document), ""]
    lines += [f"![test score of every strategy]({NAME}.svg)", "", *comparison_table(document, PAIRS)]
    for task in document["tasks"]:
        lines += ["", f"## {task['name']}", "", *arm_table(document, task)]
        same = [arm["facts"].get("strategies", []) for arm in document["arms"] if arm["task"] == task["name"]]
        lines += [f"\n{' and '.join(own)} are one table here." for own in same if len(own) > 1]
    lines += how(document)
    return "\n".join(lines) + "\n"


def figures(document: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    by_arm(document, found, NAME)
    return found
