"""Compare all search methods: what each costs, and how good its table is when it is trained from scratch."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from locomt.compare.compare import model_recipe
from locomt.data import label_list
from locomt.search.budget import Budget
from locomt.search.candidate import with_table
from locomt.search.methods import METHODS
from locomt.search.question import Question
from locomt.search.search import search
from locomt.search.space import Space
from locomt.studies import hand_made, shared_weights
from locomt.studies.arms import Arm, alone, study
from locomt.studies.datasets import DataSet
from locomt.studies.page import (
    Document,
    arm_table,
    arms_of,
    comparison_table,
    head,
    how,
    table,
    verdict,
    verdicts,
)
from locomt.studies.plan import Plan
from locomt.studies.plots import against_cost, drawing
from locomt.train.recipe import Recipe
from locomt.views import ViewTable

NAME = "search"
TITLE = "Finding view tables"
QUESTION = (
    "Is a table that was searched for better than the best hand-made one within the same budget, and what does each "
    "way of searching cost (the paper leaves the search open)?"
)
CHANGING_QUESTION = (
    "Does it help if view frequencies change while training, learned along with the weights (the paper's next check of "
    "dynamic frequencies)?"
)
DATA_SETS = ("modalities3", "modalities4", "modalities5", "qa", "grounding")
LEARNED = "search-learned"
RUNS = {True: 24, False: 4}
"""`plan.full` -> training runs that each method may take in all: to find tables and to choose among the best."""
LEAST = 5
"""Most seeds of the models that are shown for reference only."""
FRESH = 100
"""Added to the seeds of runs that are scored on the test split, so that no search has used them."""


def run(plan: Plan) -> dict[str, Any]:
    def arms(data_set: DataSet, recipe: Recipe) -> list[Arm]:
        recipe = replace(recipe, train=replace(recipe.train, epochs=max(2, recipe.train.epochs)))  # `learned` needs two
        fresh = replace(recipe, train=replace(recipe.train, seed=recipe.train.seed + FRESH))
        own = [
            Arm(group=data_set.name, name=name, recipe=model_recipe(fresh, name)) for name in ("selfall", "multiall")
        ]
        searches = {method: _search(plan, data_set, recipe, method) for method in METHODS}
        for method, found in searches.items():
            chosen = found["chosen"]
            views = ViewTable.parse(chosen["views"], tuple(recipe.data.modalities))
            # The final trains a table again; how it was found is in its first entry.
            first = next(e for e in found["tables"] if e["views"] == chosen["views"] and (e["start"] or e == chosen))
            facts = {
                "method": method,
                "training_runs": found["training_runs"],
                "tables": len({entry["views"] for entry in found["tables"]}),
                "seeds": len(chosen["seeds"]),
                "validation": chosen["mean"],
                "names": first["names"],
                "views": str(views),
                "share": chosen["share"],
                "budget": found["budget"]["share"],
                **{name: first[name] for name in ("mass_kept", "before_finetuning") if name in first},
            }
            if method == "learned":
                history = json.loads((Path(first["runs"][0]) / "views.json").read_text(encoding="utf-8"))
                facts["history"] = [{"epoch": row["epoch"], "frequencies": row["frequencies"]} for row in history]
            own.append(Arm(group=data_set.name, name=method, recipe=with_table(fresh, views), facts=facts))
        trained = next(Path(entry["runs"][0]) for entry in searches["elastic"]["tables"] if entry["start"])
        own += alone(data_set, fresh, most=LEAST)
        own += hand_made.arms(data_set, fresh, searches[hand_made.METHOD])
        return [*own, *shared_weights.arms(plan, data_set, recipe, fresh, trained)]

    return study(plan, NAME, DATA_SETS, arms, lambda recipe: {})


def _search(plan: Plan, data_set: DataSet, recipe: Recipe, method: str) -> dict[str, Any]:
    """Search by one method. Its final takes what is left of the training runs that every method has."""
    out = plan.out / "searches" / data_set.name / method
    question = Question(recipe=recipe, budget=budget_of(recipe), method=method, **options(method, plan.full))
    found = search(question, out, plan.runner)
    left = int(RUNS[plan.full] - found["training_runs"])
    return search(replace(question, final=left), out, plan.runner) if left > 1 else found


def budget_of(recipe: Recipe) -> Budget:
    """LoCoMT's attention cost with the recipe's share of cross heads, spread evenly, as a share of Multiall's."""
    config = recipe.fusion_config(label_list(recipe.data))
    space = Space(config)
    spread = ViewTable.strategy(
        "spread", space.modalities, layers=space.layers, heads=space.heads, cross=recipe.model.cross
    )
    return Budget(Fraction(space.cost(spread), space.multiall), "share")


def options(method: str, full: bool) -> dict[str, Any]:
    """Options of a method with which it takes about eight training runs in full, and two in small.

    An elastic model and its dense one take eight runs in either. There are at most seven hand-made tables, fewer where
    several are the same.
    """
    found = {
        "random": {"tables": 8 if full else 2},
        "mass": {"seeds": 7 if full else 1},
        "elastic": {"tables": 200 if full else 12},
        "learned": {"seeds": 6 if full else 1},
    }
    found["evolutionary"] = found["bayesian"] = found["random"]
    return found.get(method, {})


def _pairs(document: Document) -> list[tuple[str, str]]:
    """The pairs to compare: every other method with the best hand-made table."""
    methods = dict.fromkeys(arm["name"] for arm in document["arms"] if arm["facts"].get("method"))
    return [(method, hand_made.METHOD) for method in methods if method != hand_made.METHOD]


def summary(document: Document) -> str:
    return verdicts(document, _pairs(document))


def changing(document: Document) -> str:
    """Say whether learned views help and how their shares of cross heads changed. Empty if none were learned."""
    found = []
    for arm in document["arms"]:
        if history := arm["facts"].get("history"):
            first, last = ([1 - row.get("self", 0.0) for row in history[place]["frequencies"]] for place in (0, -1))
            shares = ", ".join(f"{a:.2f} to {b:.2f}" for a, b in zip(first, last, strict=True))
            found.append(f"**{arm['task']}** {shares}")
    if not found:
        return ""
    return (
        "The tables that were learned, trained anew, against the best hand-made ones within the same budget "
        f"(**{hand_made.METHOD}**): {verdict(document, 'learned', hand_made.METHOD)} While they were learned, from the "
        "first epoch to the last, the expected share of cross heads went, layer by layer from the lowest: "
        f"{'; '.join(found)}."
    )


def page(document: Document) -> str:
    lines = head(document, TITLE, QUESTION)
    pairs = _pairs(document)
    lines += ["", "## Answer", "", summary(document), ""]
    lines += [
        "Each method chose one table by the validation split, within the same budget (what LoCoMT takes with the "
        f"recipe's share of cross heads) and {RUNS[document['full']]} training runs at most: about a third to find "
        "tables, the rest for a final among the best ones, trained with more and more seeds (successive halving). The "
        "chosen tables were then trained from nothing, with seeds that no search had seen, and scored on the test "
        "split.",
        "",
        f"![test score against attention FLOPs]({NAME}.svg)",
        "",
        *comparison_table(document, pairs),
        "",
        *hand_made.section(document),
    ]
    for task in document["tasks"]:
        lines += ["", f"## {task['name']}", "", *arm_table(document, task), "", *_costs(document, task), ""]
        lines += shared_weights.section(document, task)
    if told := changing(document):
        lines += ["", "## Frequencies that change while training", "", f"*{CHANGING_QUESTION}*", "", told, ""]
        lines += [f"![expected view frequencies, layer by layer, epoch by epoch]({LEARNED}.svg)"]
    lines += how(document)
    return "\n".join(lines) + "\n"


def _costs(document: Document, task: Document) -> list[str]:
    """Tabulate what each search cost and found."""
    rows = []
    for arm in arms_of(document, task["name"]):
        facts = arm["facts"]
        if facts.get("method"):
            more = [] if facts["method"] == hand_made.METHOD else hand_made.alike(document, task, facts["views"])
            more += [f"keeps {facts['mass_kept']:.1%} of the mass"] if "mass_kept" in facts else []
            if facts.get("before_finetuning") is not None:
                more.append(f"{facts['before_finetuning']:.3f} before fine-tuning")
            rows.append(
                (
                    arm["name"],
                    f"{facts['training_runs']:.3g}",
                    facts["tables"],
                    f"{facts['validation']:.3f} ({facts['seeds']})",
                    f"{facts['share']:.3f} of {facts['budget']:.3f}",
                    ", ".join([*facts["names"], *more]),
                )
            )
    columns = (
        "method",
        "training runs",
        "tables scored",
        "validation score (runs)",
        "share of Multiall's attention",
        "chosen",
    )
    chosen = [
        f"- {arm['name']}: " + "; ".join(f"`{layer}`" for layer in arm["facts"]["views"].splitlines())
        for arm in arms_of(document, task["name"])
        if arm["facts"].get("method")
    ]
    folded = ["<details><summary>The chosen tables, layer by layer</summary>", "", *chosen, "", "</details>"]
    return [*table(columns, rows), "", *folded]


def _groups(document: Document) -> dict[str, dict[str, None]]:
    """Label -> its arms in the figure. Hand-made tables that were not chosen share one label."""
    found: dict[str, dict[str, None]] = {}
    for arm in document["arms"]:
        facts = arm["facts"]
        if facts.get("alone") or facts.get("shared"):
            continue
        kind = "other hand-made" if facts.get("hand_made") else arm["name"]
        found.setdefault(kind, {})[arm["name"]] = None
    return found


def figures(document: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    against_cost(document, found, NAME, _groups(document))
    learned = [arm for arm in document["arms"] if arm["facts"].get("history")]
    if learned:
        with drawing(len(learned), found, LEARNED) as axes:
            for own, arm in zip(axes, learned, strict=True):
                history = arm["facts"]["history"]
                for layer in range(len(history[0]["frequencies"])):
                    crossing = [1 - row["frequencies"][layer].get("self", 0.0) for row in history]
                    own.plot(
                        [row["epoch"] for row in history], crossing, "o-", label=f"layer {layer + 1}", markersize=4
                    )
                own.set_title(arm["task"])
                own.set_xlabel("epoch")
                own.set_ylabel("expected share of cross heads")
                own.set_ylim(0, 1)
    return found
