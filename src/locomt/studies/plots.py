"""The figures of the studies, as SVG. The same results give the same bytes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from locomt.report.drawing import colours
from locomt.studies.numbers import mean_of
from locomt.studies.page import Document, arms_of, scale_of, scores

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "studies",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
PANEL = 3.4  # inches
MEAN, SEED = "#e0662f", "#7d8794"
MARKERS = "os^Dv"


@contextmanager
def drawing(panels: int, into: dict[str, str], name: str, *, legend: bool = True) -> Iterator[Sequence[Axes]]:
    """Yield axes for so many panels, at most three in a row. Their SVG is put `into` a mapping under `name`."""
    columns = min(3, panels)
    rows = -(-panels // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PANEL * columns + 1.4 * legend, 2.9 * rows), layout="constrained")
        FigureCanvasSVG(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for spare in axes[panels:]:
            spare.set_visible(False)
        yield axes[:panels]
        handles: dict[str, Any] = {}
        for own in axes[:panels]:
            for handle, label in zip(*own.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        if legend and handles:
            figure.legend(handles.values(), handles.keys(), loc="outside right upper")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    into[name] = text.getvalue()


def against_cost(
    document: Document,
    into: dict[str, str],
    name: str,
    groups: Mapping[str, Collection[str]] | None = None,
    *,
    joined: bool = False,
) -> None:
    """Plot test scores with 95 % intervals against attention FLOPs: a panel for each task, a point for each arm.

    Args:
        document: a study's results.
        into, name: where the SVG goes, see `drawing`.
        groups: label -> its arms. Arms without a label are not shown. By default each arm is its own label.
        joined: join the arms of a group by a line, in their order.
    """
    shown = [task for task in document["tasks"] if arms_of(document, task["name"])]
    if not shown:
        return
    with drawing(len(shown), into, name) as axes:
        for own, task in zip(axes, shown, strict=True):
            scale = scale_of(task["metric"])
            arms = {arm["name"]: arm for arm in arms_of(document, task["name"])}
            points = {
                arm: (1e3 * entry["attention_gflops"], mean_of(list(scores(entry).values())))
                for arm, entry in arms.items()
            }
            labelled = {arm: [arm] for arm in points} if groups is None else groups
            shades = colours(list(labelled))
            used: Counter[str] = Counter()  # a colour that is used again gets another marker
            for label, members in labelled.items():
                marker = MARKERS[used[shades[label]] % len(MARKERS)]
                used[shades[label]] += 1
                there = [points[member] for member in members if member in points]
                if there:
                    own.errorbar(
                        [x for x, _ in there],
                        [scale * y.value for _, y in there],
                        yerr=[scale * (y.half or 0) for _, y in there],
                        fmt=f"{marker}-" if joined else marker,
                        color=shades[label],
                        label=label,
                        markersize=4,
                        capsize=2,
                        linewidth=1,
                    )
            constant = task["majority"]["metrics"].get(task["metric"])
            if constant is not None:
                own.axhline(scale * constant, color="#7d8794", linestyle=":", linewidth=1)
            own.set_title(task["name"])
            own.set_xlabel("attention MFLOPs a sample")
            own.set_ylabel(f"test {task['metric']}" + (", %" if scale == 100 else ""))


def by_arm(document: Document, into: dict[str, str], name: str) -> None:
    """Plot arms of equal cost: a panel for each task with every arm's mean, 95 % interval and seeds."""
    shown = [task for task in document["tasks"] if arms_of(document, task["name"])]
    if not shown:
        return
    with drawing(len(shown), into, name, legend=False) as axes:
        for own, task in zip(axes, shown, strict=True):
            scale = scale_of(task["metric"])
            arms = arms_of(document, task["name"])
            for place, arm in enumerate(arms):
                values = list(scores(arm).values())
                mean = mean_of(values)
                own.plot(
                    [place - 0.2] * len(values), [scale * value for value in values], ".", color=SEED, markersize=4
                )
                half = scale * (mean.half or 0)
                own.errorbar(place, scale * mean.value, yerr=half, fmt="o", color=MEAN, markersize=5, capsize=3)
            own.set_xticks(range(len(arms)), [arm["name"] for arm in arms], rotation=30, ha="right")
            own.set_title(task["name"])
            own.set_ylabel(f"test {task['metric']}" + (", %" if scale == 100 else ""))
