"""The figures of one model's answers: reliability, precision and recall, answers against truth, events, mass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from matplotlib.patches import Rectangle

from locomt.report.drawing import COLOURS, CROSS, INK, drawing
from locomt.tasks.shares import wilson

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

BINS = 10
POINTS = 200
"""Of a curve: more would not be seen."""
TRUE, ANSWERED = COLOURS["selfall"], COLOURS["locomt"]


def reliability_bins(
    said: Float[Tensor, " rows"], right: Float[Tensor, " rows"]
) -> tuple[list[tuple[float, float, int]], float]:
    """How often what was said with a probability came true, and the expected calibration error.

    The error is the mean over the answers of the distance between both in their bin, of `BINS` of equal width (Guo et
    al., ICML 2017, section 2).

    Args:
        said: the probability of each answer.
        right: 1 where it is right, else 0.

    Returns:
        (mean probability, share that is right, answers) of each bin that has any; the error.
    """
    place = (said.double() * BINS).long().clamp(0, BINS - 1)  # an answer that is no number has a place too
    count = torch.bincount(place, minlength=BINS)
    confidence = torch.bincount(place, said.double(), minlength=BINS)
    hits = torch.bincount(place, right.double(), minlength=BINS)
    error = ((confidence - hits).abs().sum() / len(said)).item()
    bins = [(c.item() / n, h.item() / n, int(n)) for c, h, n in zip(confidence, hits, count, strict=True) if n]
    return bins, error


def reliability(bins: Sequence[tuple[float, float, int]]) -> str:
    """Draw what came true against what was said, with Wilson's intervals."""
    out: list[str] = []
    with drawing(5.0, 3.4, out, "reliability") as axes:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6, label="calibrated")
        for said, right, count in bins:
            low, high = wilson(right * count, count)
            axes.plot([said, said], [low, high], color=TRUE, linewidth=1.2)
        axes.plot([b[0] for b in bins], [b[1] for b in bins], "o-", color=TRUE, linewidth=1.2, label="answers")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="probability that was said", ylabel="share that was right")
        axes.figure.legend(loc="outside upper right", ncols=2, fontsize=9)
    return out[0]


def precision_recall(curves: Mapping[str, tuple[Float[Tensor, " points"], Float[Tensor, " points"]]]) -> str:
    """Draw precision against recall, a curve each; a curve is (precision, recall)."""
    out: list[str] = []
    with drawing(5.0, 3.4, out, "precision-recall") as axes:
        shades = (*COLOURS.values(), *CROSS[3:])
        for place, (name, (precision, recall)) in enumerate(curves.items()):
            few = torch.linspace(0, len(recall) - 1, min(POINTS, len(recall))).long()
            axes.plot(
                recall[few], precision[few], drawstyle="steps-post", color=shades[place % len(shades)],
                label=shortened(name), linewidth=1.4,
            )  # fmt: skip
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
        axes.figure.legend(loc="outside right center", fontsize=9)
    return out[0]


def scatter(truth: Float[Tensor, " rows"], answered: Float[Tensor, " rows"]) -> str:
    """Draw answers against the truth."""
    out: list[str] = []
    with drawing(5.0, 3.8, out, "answers-against-truth") as axes:
        both = torch.cat([truth, answered])
        ends = [both.min().item(), both.max().item()]
        axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6)
        axes.plot(truth, answered, "o", color=TRUE, alpha=max(0.15, min(0.8, 60 / len(truth))), markersize=5)
        axes.set(xlabel="truth", ylabel="answer")
    return out[0]


def time_line(
    name: str,
    truth: Sequence[tuple[str, float, float]],
    answered: Sequence[tuple[str, float, float]],
    *,
    seconds: float,
) -> str:
    """Draw the events of a sample on a time line, a row a class: what is true above, what was answered below.

    Args:
        name: tells the drawing from others on its page.
        truth, answered: (label, start, end) in seconds.
        seconds: how long the sample is.
    """
    rows = list(dict.fromkeys(label for label, *_ in (*truth, *answered)))
    out: list[str] = []
    with drawing(5.0, 1.0 + 0.42 * max(1, len(rows)), out, name) as axes:
        for events, colour, offset in ((truth, TRUE, 0.06), (answered, ANSWERED, -0.34)):
            for label, start, end in events:
                axes.barh(-rows.index(label) + offset, end - start, 0.28, left=start, color=colour, align="edge")
        axes.set_yticks([-place for place in range(len(rows))], [shortened(label) for label in rows])
        axes.set(xlim=(0, seconds), ylim=(-len(rows) + 0.4, 0.6), xlabel="seconds")
        kinds = {"true": TRUE, "answered": ANSWERED}
        handles = [Rectangle((0, 0), 1, 1, color=colour, label=word) for word, colour in kinds.items()]
        axes.figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=9)
    return out[0]


def mass(blocks: Float[Tensor, "layers m m"], modalities: Sequence[str], first_layer: int) -> str:
    """Draw which share of its attention each modality gives to which, the last layer on top.

    Args:
        blocks: the mean over the heads; a row sums to at most 1.
        modalities: their names.
        first_layer: the number of the first fusion layer.
    """
    out: list[str] = []
    bars = [(layer, query) for layer in range(len(blocks)) for query in range(len(modalities))]
    with drawing(5.0, 1.0 + 0.24 * len(bars), out, "attention-mass") as axes:
        for key, name in enumerate(modalities):
            shares = [blocks[layer, query, key].item() for layer, query in bars]
            before = [blocks[layer, query, :key].sum().item() for layer, query in bars]
            shade = (TRUE, *CROSS)[key % (len(CROSS) + 1)]
            axes.barh(range(len(bars)), shares, 0.8, left=before, color=shade, label=f"to {shortened(name)}")
        names = [f"layer {first_layer + layer}, {shortened(modalities[query])}" for layer, query in bars]
        axes.set_yticks(range(len(bars)), names)
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(0, 1), xlabel="share of the attention of its queries")
        axes.figure.legend(loc="outside upper right", ncols=3, fontsize=9)
    return out[0]


def shortened(text: str, most: int = 18) -> str:
    """A name as it fits beside a figure. `$` would begin a formula, and `_` a name that legends leave out; what cannot
    be printed has no place in SVG."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    text = (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text
