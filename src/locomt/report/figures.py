"""The figures of models beside each other, and of one as it is trained: curves, cost, views, the guarantee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from locomt.report.drawing import COLOURS, CROSS, INK, colours, drawing, is_shares, name_of, show_whole_scale
from locomt.tasks.shares import within_bounds
from locomt.views import ViewTable

Entry = Mapping[str, Any]


def curves(histories: Mapping[str, Sequence[Sequence[tuple[float, float]]]], metric: str) -> str:
    """Plot a metric against the epoch: the mean over the seeds, shaded from the lowest seed to the highest.

    Args:
        histories: model -> for each seed the points (epoch, value).
        metric: the name of the metric.
    """
    out: list[str] = []
    with drawing(5.0, 3.0, out, f"curves-{name_of(metric)}") as axes:
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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        show_whole_scale(axes, [value for seeds in histories.values() for history in seeds for _, value in history])
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric)
        axes.figure.legend(loc="outside right center", fontsize=9)
    return out[0]


def front(rows: Sequence[Entry], cost: str, title: str, metric: str, baseline: float | None) -> str:
    """Plot a metric with its spread over the seeds against cost, and the score of one answer for all as a line."""
    out: list[str] = []
    with drawing(5.0, 3.0, out, f"front-{name_of(cost)}") as axes:
        shades = colours([row["name"] for row in rows])
        known = [row for row in rows if row["mean"] is not None]
        share = is_shares([row["mean"] for row in known])
        for row in known:
            mean, std = row["mean"], row["std"] or 0.0
            low, high = within_bounds(mean - std, mean + std, share=share)
            axes.errorbar(
                row[cost], mean, yerr=[[mean - low], [high - mean]], fmt="o", color=shades[row["name"]], capsize=3,
                markersize=8 if row["name"] == "locomt" else 6, label=row["name"],
            )  # fmt: skip
        if baseline is not None:
            axes.axhline(baseline, color=INK, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6, label="without looking")
        axes.set_xlim(0, 1.1 * max(row[cost] for row in rows))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda cost, _: f"{cost:.3g}")  # no power of ten beside the axis
        show_whole_scale(axes, [row["mean"] for row in known])
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
    with drawing(5.0, 0.8 + 0.34 * len(table.layers), out, "views") as axes:
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
    with drawing(5.0, 1.9, out, "guarantee") as axes:
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
