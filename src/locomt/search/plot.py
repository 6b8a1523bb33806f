"""The Pareto front as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from locomt.data.atomic import write_text

STYLE: dict[Any, Any] = {"svg.hashsalt": "front", "axes.spines.top": False, "axes.spines.right": False}
TRIED, FRONT, CHOSEN = "#3f8fd0", "#2a9d78", "#e0662f"


def plot_front(document: Mapping[str, Any], path: Path) -> None:
    """Draw the metric of every table against its share of Multiall's attention FLOPs, as SVG.

    Args:
        document: what `locomt.search.run.search` returned.
    """
    tables, front, chosen = document["tables"], document["front"], document["chosen"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.step(*_points(front), where="post", color=FRONT, label="front")
        axes.plot(*_points(tables), "o", color=TRIED, markersize=5, label="tried")
        axes.plot(*_points([chosen]), "o", color=CHOSEN, markersize=8, label="chosen")
        axes.axvline(document["budget"]["share"], color="#7d8794", linestyle="--", linewidth=1, label="budget")
        axes.set_xlabel("attention FLOPs of the fusion layers / Multiall's")
        axes.set_ylabel(document["metric"])
        figure.legend(loc="outside right center", frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    write_text(path, text.getvalue())


def _points(entries: list[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    return [entry["share"] for entry in entries], [entry["mean"] for entry in entries]
