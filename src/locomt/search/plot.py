"""The Pareto front as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from locomt.files import write_text

STYLE: dict[Any, Any] = {"svg.hashsalt": "front", "axes.spines.top": False, "axes.spines.right": False}
TRIED, FRONT, CHOSEN = "#3f8fd0", "#2a9d78", "#e0662f"


def plot_front(document: Mapping[str, Any], path: Path) -> None:
    """Draw the metric of every table against its share of Multiall's attention FLOPs or time, as SVG.

    Args:
        document: what `locomt.search.search.search` returned.
    """
    tables, front, chosen = document["tables"], document["front"], document["chosen"]
    unit, what = ("ms", "time") if "ms" in document["budget"] else ("gflops", "FLOPs")

    def points(entries: list[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
        dense = document[f"multiall_{unit}"]
        return [entry[unit] / dense for entry in entries], [entry["mean"] for entry in entries]

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.step(*points(front), where="post", color=FRONT, label="front")
        axes.plot(*points(tables), "o", color=TRIED, markersize=5, label="tried")
        axes.plot(*points([chosen]), "o", color=CHOSEN, markersize=8, label="chosen")
        axes.axvline(document["budget"]["share"], color="#7d8794", linestyle="--", linewidth=1, label="budget")
        axes.set_xlabel(f"attention {what} of the fusion layers / Multiall's")
        axes.set_ylabel(document["metric"])
        figure.legend(loc="outside right center", frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    write_text(path, text.getvalue())
