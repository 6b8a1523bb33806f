"""A fused model that is worse than one of its modalities by itself: by how much, and what there is to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locomt.data.dealing import read_rows
from locomt.train.recipe import Recipe

PAGE = "docs/modalities.md, 'Which modality does the work?'"


def below(score: float, best: float, mode: str) -> str:
    """By how much a score is worse than another, as it is shown; empty where it is not, or by less than shows.

    Args:
        score, best: values of a metric.
        mode: `max` where more of it is better, else `min`.

    Returns:
        Percentage points of a share of which more is better, else the difference of the numbers.
    """
    by = best - score if mode == "max" else score - best
    text = f"{100 * by:.1f}" if is_share(best, mode) else f"{by:.3f}"
    return text if by > 0 and float(text) else ""


def is_share(value: float, mode: str) -> bool:
    """Whether a metric's value is shown in percent."""
    return mode == "max" and 0 <= value <= 1


def advice(part: str, train: Mapping[str, Any], *, parts: int) -> str:
    """What to do about a model that is worse than one of its parts.

    Args:
        part: the best of them.
        train: the recipe's `train` section in plain types.
        parts: how many of its modalities can answer for themselves; the losses of parts change nothing where it is one.
    """
    if parts > 1 and not train.get("unimodal_loss"):  # which older recipes do not have
        return f"set train.unimodal_loss to 1, or use {part} alone"
    more = [] if train.get("augment", {}).get("drop_modality") else ["try train.augment.drop_modality"]
    return ", ".join([f"use {part} alone", *more]) + ", or train on more data"


def of_run(summary: Mapping[str, Any], recipe: Recipe) -> str:
    """The line about a run whose answer is worse than what its model answers to one modality alone, else empty.

    Where some validation samples lack the modality, it was scored on other samples, which the line says.

    Args:
        summary: what `locomt.train.fit` returned: the best epoch's row, and by what it is judged.
        recipe: of the run.
    """
    monitor, score = summary["monitor"], summary.get(summary["monitor"])
    mode = recipe.data.target.monitors.get(monitor.removeprefix("val_"))
    alone = {
        name.removeprefix(f"{monitor}/"): value
        for name, value in summary.items()
        if name.startswith(f"{monitor}/") and isinstance(value, float)
    }
    if mode is None or not isinstance(score, float) or not alone:
        return ""
    part = (max if mode == "max" else min)(alone, key=alone.__getitem__)
    if not (by := below(score, alone[part], mode)):
        return ""
    share = is_share(alone[part], mode)
    amount = f"{by} points below" if share else f"{by} worse than"
    best = f"{100 * alone[part]:.1f}" if share else f"{alone[part]:.3f}"
    todo = advice(part, recipe.to_dict()["train"], parts=len(alone))
    there, samples = _with(part, recipe)
    if there < samples:
        best += f" on the {there} of {samples} samples that have it"
        todo = "these are other samples: `locomt compare` tells more"
    return f"{monitor} is {amount} that of {part} alone in this model ({best}): see {PAGE}; {todo}"


def _with(part: str, recipe: Recipe) -> tuple[int, int]:
    """How many samples of the validation split have a modality, as the manifest has it, and how many there are; none
    where the manifest is not there any more."""
    data = recipe.data
    if not Path(data.manifest).exists():
        return 0, 0
    cells = [row.cells[data.modalities[part].column] for row in read_rows(data) if row.split == data.val_split]
    return sum(bool(cell.strip()) for cell in cells), len(cells)
