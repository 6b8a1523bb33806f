"""Found tables beside all hand-made ones, whichever of these was chosen: a part of the search study."""

from __future__ import annotations

from collections.abc import Sequence

from locomt.experiments.studies.arms import Arm
from locomt.experiments.studies.numbers import mean_of
from locomt.experiments.studies.page import Document, arms_of, comparisons, scores
from locomt.experiments.tasks import Task
from locomt.search.final import differing
from locomt.search.method import with_table
from locomt.search.results import Entry
from locomt.train.recipe import Recipe
from locomt.views import ViewTable

METHOD = "strategies"
"""The search among them, and the arm of the table that it chose."""


def arms(task: Task, fresh: Recipe, found: Document) -> list[Arm]:
    """The hand-made tables that were not chosen.

    Args:
        task, fresh: what they are trained on, with seeds that no search has seen.
        found: what the search among them came to.
    """
    others = {e["views"]: e["names"] for e in found["tables"] if e["views"] != found["chosen"]["views"]}
    return [
        Arm(
            task=task.name,
            name=f"hand-made {', '.join(names)}",
            recipe=with_table(fresh, ViewTable.parse(views, tuple(fresh.data.modalities))),
            facts={"hand_made": names},
        )
        for views, names in others.items()
    ]


def reordered(found: ViewTable, tables: Sequence[Entry]) -> list[str]:
    """What a table is called by hand, where one is the same but for the order of a layer's heads."""
    same = [e for e in tables if not differing(found, ViewTable.parse(e["views"], found.modalities))]
    return [name for entry in same for name in entry["names"]]


def section(document: Document) -> list[str]:
    """Each found table against the hand-made one that the test split, not validation, says is the best."""
    wanted = []
    for task in document["tasks"]:
        own = [arm for arm in arms_of(document, task["name"]) if scores(arm)]
        by_hand = [arm for arm in own if arm["facts"].get("hand_made") and not arm["facts"].get("method")]
        by_hand += [arm for arm in own if arm["facts"].get("method") == METHOD]
        if not by_hand:
            continue
        best = min if task["better"] == "less" else max
        first = best(by_hand, key=lambda arm: mean_of(list(scores(arm).values())).value)
        methods = [arm["name"] for arm in own if arm["facts"].get("method") not in (None, METHOD)]
        wanted += [(task, method, first["name"]) for method in methods]
    return [
        "### Against every hand-made table",
        "",
        "A search that knew the test split would take the hand-made table that is the best there. Nobody can, so this "
        "asks more of the found tables than the comparison above: whether they are better than every hand-made table.",
        "",
        *comparisons(document, wanted),
    ]
