"""Drawing by matplotlib, as SVG that takes its text colour from the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

INK = "#123456"
"""Stands for the page's text colour, which differs on a dark page. It is replaced by `currentColor`."""

# Distinct for colour-blind readers (after Okabe and Ito); of medium lightness, for light and dark pages.
COLOURS = {"locomt": "#e0662f", "selfall": "#3f8fd0", "multiall": "#2a9d78", "mbt": "#bf6fa5"}
OTHERS = ("#9a8c3c", "#7d8794", "#7f78c9", "#b5655d", "#4f9aa3", "#5f9e4a", "#d0a02c", "#a0567f", "#4d68b0")
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
def drawing(width: float, height: float, into: list[str], name: str) -> Iterator[Axes]:
    """Yield axes to draw on. Their SVG is appended to the list `into`. Sizes are in inches."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The text stays text, so that a letter that matplotlib's font lacks is drawn by the browser.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
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


def show_whole_scale(axes: Axes, values: Sequence[float]) -> None:
    """Show shares on a scale from 0 to 1, so that a small difference looks small."""
    if is_shares(values):
        axes.set_ylim(0, 1.03)


def is_shares(values: Sequence[float]) -> bool:
    """Whether they all lie between 0 and 1, as shares do."""
    return bool(values) and 0 <= min(values) <= max(values) <= 1


def name_of(text: str) -> str:
    return re.sub(r"\W+", "-", text)
