"""Where the results of a fit say little: few samples, ties, one seed, a loss that never falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from locomt.train.run_directory import RunDirectory

FEW = 50
"""Samples of a split with which its scores say little."""


def before(counts: Mapping[str, int]) -> list[str]:
    """What can be said before training."""
    return [
        f"{counts[name]} samples in split {name!r}: one sample is {100 / counts[name]:.0f} points of accuracy; "
        f"differences below that of a few samples say nothing"
        for name in ("val", "test")
        if counts[name] < FEW
    ]


def after(document: Mapping[str, Any], chosen: str, seeds: int) -> list[str]:
    """What the results say of themselves.

    Args:
        document: of `locomt.compare.compare.compare`.
        chosen: the name of the model that is kept.
        seeds: that each model was trained with.
    """
    lines = []
    if seeds == 1:
        lines.append("one seed: another may rank the models otherwise; preset best trains three")
    best = [row["mean"] for row in document["models"] if row["name"] == chosen and row["mean"] is not None]
    tied = [row["name"] for row in document["models"] if row["name"] != chosen and row["mean"] in best]
    if tied:
        lines.append(f"on the test split {chosen} is level with {', '.join(dict.fromkeys(tied))}")
    return [*lines, *_never_falls(document["runs"])]


def _never_falls(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for run in runs:
        losses = [row.get("train_loss") for row in RunDirectory(Path(run["directory"])).read_history()]
        known = [loss for loss in losses if loss is not None]
        if len(known) > 1 and min(known[1:]) > 0.95 * known[0]:
            lines.append(
                f"{run['recipe']} {run['name']}: the training loss fell from {known[0]:.3f} to {min(known):.3f} only: "
                "nothing was learned; look at the data, or give it more minutes"
            )
    return lines
