"""View frequencies and the number of fusion layers, against cost: the paper's second experiment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from locomt.studies.arms import Arm, alone, study
from locomt.studies.datasets import DataSet
from locomt.studies.numbers import mean_of
from locomt.studies.page import (
    Document,
    comparison_table,
    ending,
    head,
    scale_of,
    scores,
    spread,
)
from locomt.studies.plan import Plan
from locomt.studies.plots import against_cost
from locomt.train.recipe import Recipe

NAME = "tradeoff"
TITLE = "View frequencies and fusion layers"
QUESTION = (
    "How do accuracy and cost go with the share of cross heads and with the number of fusion layers (the paper's "
    "second experiment)?"
)
DATA_SETS = ("digits", "grounding")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SMALL_SHARES = (0.0, 0.5, 1.0)


def layer_counts(depth: int) -> tuple[int, ...]:
    """1, 2, 4 and so on, and all layers of the model."""
    return tuple(dict.fromkeys([*(2**n for n in range(depth) if 2**n < depth), depth]))


def arm_name(layers: int, share: float) -> str:
    return f"{layers} fusion, {share:.0%} cross"


def run(plan: Plan) -> dict[str, Any]:
    shares = SHARES if plan.full else SMALL_SHARES

    def arms(data_set: DataSet, recipe: Recipe) -> list[Arm]:
        grid = [
            Arm(
                group=data_set.name,
                name=arm_name(layers, share),
                recipe=replace(
                    recipe,
                    model=replace(
                        recipe.model, fusion="locomt", views=None, strategy="spread", cross=share, fusion_layers=layers
                    ),
                ),
                facts={"layers": layers, "share": share},
            )
            for layers in layer_counts(recipe.model.num_layers)
            for share in shares
        ]
        return grid + alone(data_set, recipe)

    return study(plan, NAME, DATA_SETS, arms)


def _grid(document: Document) -> list[Document]:
    """The arms that are fused models."""
    return [arm for arm in document["arms"] if "share" in arm["facts"]]


def _lines(document: Document) -> dict[str, list[str]]:
    """Number of fusion layers -> its arms, from no cross heads to all cross heads."""
    found: dict[str, list[str]] = {}
    for arm in sorted(_grid(document), key=lambda arm: (arm["facts"]["layers"], arm["facts"]["share"])):
        members = found.setdefault(f"{arm['facts']['layers']} fusion layers", [])
        if arm["name"] not in members:
            members.append(arm["name"])
    return found


def summary(document: Document) -> str:
    found = []
    for task in document["tasks"]:
        arms = [arm for arm in _grid(document) if arm["task"] == task["name"] and scores(arm)]
        if not arms:
            continue
        sign, scale = (-1 if task["better"] == "less" else 1), scale_of(task["metric"])
        means = {arm["name"]: mean_of(list(scores(arm).values())) for arm in arms}
        best = max(arms, key=lambda arm: sign * means[arm["name"]].value)
        cheapest = min(arms, key=lambda arm: arm["attention_gflops"])
        level = [
            arm
            for arm in arms
            if sign * means[arm["name"]].value >= sign * means[best["name"]].value - (means[best["name"]].half or 0)
        ]
        least = min(level, key=lambda arm: arm["attention_gflops"])
        found.append(
            f"**{task['name']}**: the best mean is that of {best['name']} ({spread(means[best['name']], scale)}); "
            f"within half its interval, {least['name']} ({spread(means[least['name']], scale)}) takes the least "
            f"attention, {least['attention_gflops'] / best['attention_gflops']:.2f} of it. The cheapest of all, "
            f"{cheapest['name']}, reaches {spread(means[cheapest['name']], scale)}."
        )
    return " ".join(found)


def page(document: Document) -> str:
    lines = head(document, TITLE, QUESTION)
    lines += ["", "## Answer", "", summary(document), ""]
    lines += [f"![test score against attention FLOPs]({NAME}.svg)", ""]
    shares = sorted({arm["facts"]["share"] for arm in _grid(document)})
    layers = sorted({arm["facts"]["layers"] for arm in _grid(document)})
    pairs = [(arm_name(n, share), arm_name(n, 0.0)) for n in layers for share in shares if share]
    lines += ["Cross heads against none, at the same number of fusion layers:", "", *comparison_table(document, pairs)]
    lines += ending(document)
    return "\n".join(lines) + "\n"


def figures(document: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    against_cost(document, found, NAME, _lines(document), joined=True)
    return found
