"""A search as a page: what was tried, the front, and the chosen table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from locomt.files import write_text
from locomt.report import figures
from locomt.report.drawing import drawing
from locomt.report.page import Section, facts, figure, render, side_by_side, table
from locomt.report.provenance import data_of, machine, version
from locomt.train.recipe import Recipe

TRIED, FRONT, CHOSEN = "#3f8fd0", "#2a9d78", "#e0662f"
LISTED = 200
"""Tables on the page; the results have all."""


def write_report(document: Mapping[str, Any], recipe: Recipe, path: Path, *, layer: int) -> None:
    """Write the page of a search.

    Args:
        document: what `locomt.search.search.search` returned.
        recipe: that was searched with.
        path: of the page.
        layer: the number of the first fusion layer.
    """
    tables, chosen, metric = document["tables"], document["chosen"], document["metric"]
    unit = "ms" if "ms" in document["budget"] else "gflops"
    drawn = [
        figure(
            "Every table that was tried",
            _front(document, unit),
            "The step line: nothing cheaper is better.",
        ),
        figure(
            "The chosen table",
            figures.views(chosen["views"], list(recipe.data.modalities), layer),
            "Which modalities each head of the fusion layers looks at.",
        ),
    ]
    front = {entry["views"] for entry in document["front"]}
    rows = [
        (
            ", ".join(entry["names"]),
            f"{entry['mean']:.4f}",
            len(entry["seeds"]),
            f"{entry['gflops']:.4g}",
            f"{entry['share']:.1%}",
            "yes" if entry["views"] in front else "",
        )
        for entry in tables[:LISTED]
    ]
    marks = ["own" if entry["views"] == chosen["views"] else "" for entry in tables[:LISTED]]
    heads = ("table", metric, "seeds", "attention GFLOPs", "of Multiall's", "front")
    made = {
        "locomt": version(),
        "data": data_of(recipe.data.manifest),
        "cost": f"{document['training_runs']:.4g} training runs",
        "machine": machine(),
    }
    page = render(
        f"Which head looks where: {metric} within {document['budget']['share']:.1%} of Multiall's attention",
        [
            Section("The search", Markup("{}\n{}").format(side_by_side(drawn), table(heads, rows, marks))),
            Section("Where these figures come from", facts(made)),
        ],
        lead=[f"Chosen by {metric}: {', '.join(chosen['names'])}, {chosen['mean']:.4f}."],
        about=[
            *(f"Caution: {line}." for line in document.get("cautions", ())),
            "Validation chose the table: its score here is one that was looked for, not one of unseen data.",
        ],
        small=f"FLOPs: attention of the fusion layers; {document['convention']}.",
    )
    write_text(path, page)


def _front(document: Mapping[str, Any], unit: str) -> str:
    """Draw the metric of every table against its share of Multiall's attention FLOPs or time."""
    what, dense = "time" if unit == "ms" else "FLOPs", document[f"multiall_{unit}"]

    def points(entries: list[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
        return [entry[unit] / dense for entry in entries], [entry["mean"] for entry in entries]

    out: list[str] = []
    with drawing(5.0, 3.2, out, "front") as axes:
        axes.step(*points(document["front"]), where="post", color=FRONT, label="front")
        axes.plot(*points(document["tables"]), "o", color=TRIED, markersize=5, label="tried")
        axes.plot(*points([document["chosen"]]), "o", color=CHOSEN, markersize=8, label="chosen")
        axes.axvline(document["budget"]["share"], color="#7d8794", linestyle="--", linewidth=1, label="budget")
        axes.set_xlabel(f"attention {what} of the fusion layers / Multiall's")
        axes.set_ylabel(document["metric"])
        axes.figure.legend(loc="outside right center", fontsize=9)
    return out[0]
