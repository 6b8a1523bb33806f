"""Found tables beside all hand-made ones, whichever of these was chosen: a part of the search study."""

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
"""The search among them, and the arm of the table that it chose."""


def arms(data_set: DataSet, fresh: Recipe, found: Document) -> list[Arm]:
    """The hand-made tables that were not chosen.

    Args:
        data_set, fresh: what they are trained on, with seeds that no search has seen.
        found: the results of the search among them.
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
    """Say which hand-made tables a found one equals, in this or another order of a layer's heads."""
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
    """Each found table against the hand-made one that the test split, not validation, says is the best."""
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
