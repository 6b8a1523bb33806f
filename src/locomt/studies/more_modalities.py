"""Accuracy and cost as the number of modalities grows from two to five."""

from __future__ import annotations

from typing import Any

from locomt.nn.config import FUSIONS
from locomt.report.drawing import colours
from locomt.studies.arms import baselines, study
from locomt.studies.baselines import PAIRS
from locomt.studies.numbers import mean_of
from locomt.studies.page import (
    Document,
    arms_of,
    comparison_table,
    ending,
    head,
    scores,
    table,
    verdicts,
)
from locomt.studies.plan import Plan
from locomt.studies.plots import drawing

NAME = "modalities"
TITLE = "More than two modalities"
QUESTION = "What happens to accuracy and cost when there are three, four or five modalities (left open by the paper)?"
DATA_SETS = ("modalities2", "modalities3", "modalities4", "modalities5", "mosi")


def run(plan: Plan) -> dict[str, Any]:
    return study(plan, NAME, DATA_SETS, baselines)


def costs(document: Document) -> list[tuple[str, int, dict[str, float]]]:
    """(task, its number of modalities, fusion -> score pairs over Multiall's) of each task, fewest modalities first."""
    found = []
    for task in document["tasks"]:
        pairs = {arm["name"]: arm["fusion_score_pairs"] for arm in document["arms"] if arm["task"] == task["name"]}
        if "multiall" in pairs:
            shares = {name: pairs[name] / pairs["multiall"] for name in FUSIONS if name in pairs}
            found.append((task["name"], len(task["tokens"]), shares))
    return sorted(found, key=lambda entry: entry[1])


def summary(document: Document) -> str:
    made = costs(document)
    (_, fewest, first), (_, most, last) = made[0], made[-1]
    shares = ", ".join(
        f"{name} {first[name]:.2f} and {last[name]:.2f}" for name in FUSIONS if name in first and name in last
    )
    return (
        f"{verdicts(document, PAIRS)} With {fewest} and with {most} modalities, attention of the fusion layers takes, "
        f"of Multiall's: {shares}."
    )


def page(document: Document) -> str:
    lines = head(document, TITLE, QUESTION)
    lines += ["", "## Answer", "", summary(document), ""]
    lines += ["Attention cost of the fusion layers, over that of Multiall:", ""]
    rows = [
        (name, count, *(f"{shares[fusion]:.3f}" if fusion in shares else "" for fusion in FUSIONS))
        for name, count, shares in costs(document)
    ]
    lines += table(("task", "modalities", *FUSIONS), rows)
    lines += ["", f"![accuracy and cost against the number of modalities]({NAME}.svg)", ""]
    lines += comparison_table(document, PAIRS)
    lines += ending(document)
    return "\n".join(lines) + "\n"


def figures(document: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    shades = colours(FUSIONS)
    made = [entry for entry in costs(document) if entry[0].startswith(NAME)]
    with drawing(2, found, NAME) as (accuracy, cost):
        for fusion in FUSIONS:
            arms = {
                count: mean_of(list(scores(arm).values()))
                for name, count, _ in made
                for arm in arms_of(document, name)
                if arm["name"] == fusion
            }
            accuracy.errorbar(
                list(arms),
                [100 * mean.value for mean in arms.values()],
                yerr=[100 * (mean.half or 0) for mean in arms.values()],
                fmt="o-",
                color=shades[fusion],
                label=fusion,
                markersize=4,
                capsize=2,
                linewidth=1,
            )
            shares = {count: own[fusion] for _, count, own in made if fusion in own}
            cost.plot(list(shares), list(shares.values()), "o-", color=shades[fusion], label=fusion, markersize=4)
        accuracy.set_ylabel("test accuracy, %")
        cost.set_ylabel("attention of fusion layers / Multiall's")
        for axes in (accuracy, cost):
            axes.set_xlabel("modalities")
            axes.set_xticks([count for _, count, _ in made])
    return found
