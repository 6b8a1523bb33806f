"""Compare found tables with every hand-made one, not only with the chosen one: a part of the search study."""

from __future__ import annotations

from locomt.search.candidate import with_table
from locomt.search.final import differing
from locomt.studies.arms import Arm
from locomt.studies.datasets import DataSet
from locomt.studies.numbers import mean_of
from locomt.studies.page import Document, arms_of, comparisons, scores
from locomt.train.recipe import Recipe
from locomt.views import ViewTable

METHOD = "strategies"
"""The method that searches among the hand-made tables; also the arm of the table that it chose."""


def arms(data_set: DataSet, fresh: Recipe, found: Document) -> list[Arm]:
    """Make an arm of each hand-made table that was not chosen.

    Args:
        data_set: what they are trained on.
        fresh: its recipe, with seeds that no search has used.
        found: the results of the search among the hand-made tables.
    """
    others = {e["views"]: e["names"] for e in found["tables"] if e["views"] != found["chosen"]["views"]}
    return [
        Arm(
            group=data_set.name,
            name=f"hand-made {', '.join(names)}",
            recipe=with_table(fresh, ViewTable.parse(views, tuple(fresh.data.modalities))),
            facts={"hand_made": names, "views": views},
        )
        for views, names in others.items()
    ]


def alike(document: Document, task: Document, views: str) -> list[str]:
    """List the hand-made tables that equal a found one, in this or another order of the heads within a layer."""
    names, modalities = [], tuple(task["tokens"])
    for arm in _by_hand(document, task):
        facts = arm["facts"]
        if not differing(*(ViewTable.parse(text, modalities) for text in (views, facts["views"]))):
            order = "" if views == facts["views"] else ", heads in another order"
            names += [f"hand-made {name}{order}" for name in facts.get("hand_made") or facts["names"]]
    return names


def _by_hand(document: Document, task: Document) -> list[Document]:
    return [
        arm
        for arm in arms_of(document, task["name"])
        if arm["facts"].get("hand_made") or arm["facts"].get("method") == METHOD
    ]


def section(document: Document) -> list[str]:
    """Compare each found table with the hand-made one that scores best on the test split, not on validation."""
    wanted = []
    for task in document["tasks"]:
        by_hand = _by_hand(document, task)
        if not by_hand:
            continue
        best = min if task["better"] == "less" else max
        first = best(by_hand, key=lambda arm: mean_of(list(scores(arm).values())).value)
        own = arms_of(document, task["name"])
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
