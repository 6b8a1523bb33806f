"""The figures of the report, as SVG that takes its text colour from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from locomt.views import ViewTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

Entry = Mapping[str, Any]

INK = "#123456"
"""Stands for the page's text colour, which differs on a dark page. It is replaced by `currentColor`."""

# Distinct for colour-blind readers (after Okabe and Ito); of medium lightness, for light and dark pages.
COLOURS = {"locomt": "#e0662f", "selfall": "#3f8fd0", "multiall": "#2a9d78", "mbt": "#bf6fa5"}
OTHERS = ("#9a8c3c", "#7d8794", "#7f78c9", "#b5655d", "#4f9aa3")
CROSS = ("#e0662f", "#2a9d78", "#bf6fa5", *OTHERS)

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    **{f"axes.{part}color": INK for part in ("label", "edge", "title")},
}


def colours(names: Sequence[str]) -> dict[str, str]:
    """Assign a colour to every model."""
    others = [name for name in names if name not in COLOURS]
    return {name: COLOURS.get(name) or OTHERS[others.index(name) % len(OTHERS)] for name in names}


@contextmanager
def _drawing(width: float, height: float, into: list[str], name: str) -> Iterator[Axes]:
    """Yield axes to draw on. Their SVG is appended to the list `into`. Sizes are in inches."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots()
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]  # within a page there is no XML prologue
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)  # the page scales it
    svg = re.sub(r'(\bid="|#)((?:figure|axes|patch|line2d|text|matplotlib)[\w.]*)', rf"\1{name}-\2", svg)
    into.append(svg.replace(INK, "currentColor").replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1))


def curves(histories: Mapping[str, Sequence[Sequence[tuple[float, float]]]], metric: str) -> str:
    """Plot a metric against the epoch: the mean over the seeds, shaded from the lowest seed to the highest.

    Args:
        histories: model -> for each seed the points (epoch, value).
        metric: the name of the metric.
    """
    out: list[str] = []
    with _drawing(5.0, 3.0, out, f"curves-{_id(metric)}") as axes:
        shades = colours(list(histories))
        for name, seeds in histories.items():
            by_epoch: dict[float, list[float]] = {}
            for history in seeds:
                for epoch, value in history:
                    by_epoch.setdefault(epoch, []).append(value)
            epochs = sorted(by_epoch)
            mean = [sum(by_epoch[e]) / len(by_epoch[e]) for e in epochs]
            low, high = ([pick(by_epoch[e]) for e in epochs] for pick in (min, max))
            axes.fill_between(epochs, low, high, color=shades[name], alpha=0.18, linewidth=0)
            axes.plot(epochs, mean, color=shades[name], label=name, linewidth=2 if name == "locomt" else 1.4)
            if len(epochs) == 1:
                axes.plot(epochs, mean, "o", color=shades[name])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _show_whole_scale(axes, [value for seeds in histories.values() for history in seeds for _, value in history])
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric)
        axes.figure.legend(loc="outside right center", fontsize=9)
    return out[0]


def front(rows: Sequence[Entry], cost: str, title: str, metric: str, baseline: float | None) -> str:
    """Plot a metric with its spread over the seeds against cost, and the score of one answer for all as a line."""
    out: list[str] = []
    with _drawing(5.0, 3.0, out, f"front-{_id(cost)}") as axes:
        shades = colours([row["name"] for row in rows])
        for row in (row for row in rows if row["mean"] is not None):
            axes.errorbar(
                row[cost], row["mean"], yerr=row["std"] or 0, fmt="o", color=shades[row["name"]], capsize=3,
                markersize=8 if row["name"] == "locomt" else 6, label=row["name"],
            )  # fmt: skip
        if baseline is not None:
            axes.axhline(baseline, color=INK, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6, label="without looking")
        axes.set_xlim(0, 1.1 * max(row[cost] for row in rows))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _show_whole_scale(axes, [row["mean"] for row in rows if row["mean"] is not None])
        axes.set_xlabel(title)
        axes.set_ylabel(metric)
        axes.figure.legend(loc="outside right center", fontsize=9)
    return out[0]


def views(text: str, modalities: Sequence[str], first_layer: int) -> str:
    """Draw the view table: a row for each fusion layer, the last on top; a cell for each head, coloured by view."""
    table = ViewTable.parse(text, modalities)
    heads = table.num_heads
    seen = list(dict.fromkeys(view.text for layer in table.layers for view in layer.heads))
    shades = {"self": "#3f8fd0", "multi": "#7d8794"}
    shades |= {view: CROSS[i % len(CROSS)] for i, view in enumerate(view for view in seen if view not in shades)}
    out: list[str] = []
    with _drawing(5.0, 0.8 + 0.34 * len(table.layers), out, "views") as axes:
        for row, layer in enumerate(table.layers):
            for head, view in enumerate(layer.heads):
                axes.add_patch(
                    Rectangle((head + 0.04, row + 0.06), 0.92, 0.88, color=shades[view.text], alpha=0.9, linewidth=0)
                )
        axes.set_xlim(0, heads)
        axes.set_ylim(0, len(table.layers))
        axes.set_xticks([head + 0.5 for head in range(heads)], [str(head + 1) for head in range(heads)])
        axes.set_yticks(
            [row + 0.5 for row in range(len(table.layers))],
            [f"layer {first_layer + row}" for row in range(len(table.layers))],
        )
        axes.tick_params(length=0)
        axes.set_xlabel("head")
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        handles = [Rectangle((0, 0), 1, 1, color=shades[view], label=view) for view in seen]
        axes.figure.legend(handles=handles, loc="outside right center", fontsize=9)
    return out[0]


def guarantee(numbers: Entry) -> str:
    """Draw the four numbers of the guarantee as bars."""
    names = {"locomt": "LoCoMT", "self": "Selfall", "bottle": f"MBT, B = {numbers['bottlenecks']}", "multi": "Multiall"}
    shades = {"locomt": "locomt", "self": "selfall", "bottle": "mbt", "multi": "multiall"}
    out: list[str] = []
    with _drawing(5.0, 1.9, out, "guarantee") as axes:
        for place, (key, name) in enumerate(names.items()):
            share = f"{numbers[key]:,}  ({numbers[key] / numbers['multi']:.0%} of Multiall)"
            axes.barh(-place, numbers[key], color=COLOURS[shades[key]], height=0.66)
            axes.annotate(
                share if key != "multi" else f"{numbers[key]:,}", (numbers[key], -place), (5, 0),
                textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
            axes.text(-0.01 * numbers["multi"], -place, name, ha="right", va="center")
        axes.set_xlim(0, 1.3 * max(numbers[key] for key in names))
        axes.set_axis_off()
    return out[0]


def _show_whole_scale(axes: Axes, values: Sequence[float]) -> None:
    """Show shares on a scale from 0 to 1, so that a small difference looks small."""
    if values and 0 <= min(values) <= max(values) <= 1:
        axes.set_ylim(0, 1.03)


def _id(text: str) -> str:
    return re.sub(r"\W+", "-", text)
