"""Time ratio against FLOP ratio, from the JSON documents of the other benchmarks.

python benchmarks/plot.py                       # of the H200's results to docs/images/time-against-flops.svg
python benchmarks/plot.py results.json --out ratios.svg
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from document import RESULTS, Document, read
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

DEFAULTS = [RESULTS / "h200-attention.json", RESULTS / "h200-model.json"]
OUT = Path(__file__).parents[1] / "docs" / "images" / "time-against-flops.svg"
# Apart for colour-blind readers (after Okabe and Ito).
COLOURS = {
    "triton": "#e0662f",
    "sdpa": "#3f8fd0",
    "locomt": "#e0662f",
    "selfall": "#3f8fd0",
    "multiall": "#2a9d78",
    "mbt": "#bf6fa5",
}
PASSES = {"forward": "o", "forward_backward": "^", "training": "^", "inference": "o"}
TICKS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 2, 3, 5, 10)

Point = tuple[float, float, str, str, bool]
"""FLOP ratio, time ratio, whose (the colour), which pass (the marker), whether padded (hollow)."""


def attention_points(document: Document) -> list[Point]:
    """Of every backend but `auto`, which is one of the others."""
    points = []
    for case in document["cases"]:
        for which in ("forward", "forward_backward"):
            ratios: dict[str, Any] = case.get(f"{which}_ratios", {case["backend"]: case[f"{which}_ratio"]})
            for name, ratio in ratios.items():
                if name != "auto":
                    points.append((case["flop_ratio"], ratio, name, which, case.get("padded", False)))
    return points


def model_points(document: Document) -> list[Point]:
    return [
        (case["flop_ratio"], case["time_ratio"], case["model"], case["task"], False)
        for case in document["cases"]
        if case["model"] != "multiall"
    ]


def plot(documents: Sequence[Document], out: Path) -> None:
    """A panel for each document; those of models know their cases' `model`."""
    style = {"svg.hashsalt": "locomt", "svg.fonttype": "none", "font.size": 10, "legend.frameon": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.2 * len(documents), 5.4), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        panels = figure.subplots(1, len(documents), squeeze=False)[0]
        for axes, document in zip(panels, documents, strict=True):
            of_models = any("model" in case for case in document["cases"])
            _draw(axes, model_points(document) if of_models else attention_points(document))
            what, rival = (
                ("whole model", "Multiall") if of_models else ("view_attention", "the fastest dense attention")
            )
            axes.set_title(f"{what} / {rival}, {document['device'].removeprefix('NVIDIA ')}", fontsize=10)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, metadata={"Date": None})


def _draw(axes: Axes, points: list[Point]) -> None:
    values = [value for point in points for value in point[:2]]
    low, high = 0.9 * min(values), 1.1 * max(1.0, *values)
    axes.plot([low, high], [low, high], color="#7d8794", linewidth=0.8, label="time = FLOPs")
    drawn = set()
    for flops, time, name, which, padded in points:
        colour = COLOURS.get(name, "#7d8794")
        label = f"{name}, {which.replace('_', ' + ')}{', padded' * padded}"
        axes.plot(
            flops,
            time,
            PASSES[which],
            markersize=6,
            color=colour,
            markerfacecolor="none" if padded else colour,
            label="_" * (label in drawn) + label,  # a leading underscore keeps a repetition out of the legend
        )
        drawn.add(label)
    # Launches make some ratios of batch 1 ten times the others: logarithmic, the diagonal stays straight.
    axes.set(xscale="log", yscale="log", xlabel="FLOP ratio", ylabel="time ratio")
    axes.set(xlim=(0.9 * min(p[0] for p in points), 1.1), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(TICKS))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path, help="default: those of the H200 that are there")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    paths = args.documents or [path for path in DEFAULTS if path.exists()]
    if not paths:
        parser.error("no results to plot: run benchmarks/attention.py first, or name its JSON file")
    plot([read(path) for path in paths], args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
