"""The mean of the answers of models of one modality: fusion of what they say, without any training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from locomt.tasks import IGNORED
from locomt.train.evaluation import Run, answers
from locomt.train.runs import device_of

NAME = "late average"
AT_ONCE = 256
"""How many samples are averaged at once."""


def late_average(directories: Sequence[Path]) -> dict[str, Any]:
    """Score the mean answer of several runs on the test split: the mean of their probabilities or numbers.

    The mean of a sample, or of a step, is over the runs that can read it.

    Args:
        directories: finished runs on one manifest, each with its own modalities.

    Returns:
        As `locomt.train.evaluate`; samples that no run can read are skipped.
    """
    runs = [Run.load(directory) for directory in directories]
    target, labels = runs[0].recipe.data.target, runs[0].labels
    assert all(run.labels == labels for run in runs)
    found: list[dict[str, _Answer]] = []
    for run in runs:
        own: dict[str, _Answer] = {}
        rows = 0
        for batch, logits in answers(run, device=device_of(run.recipe)):
            own |= dict(zip(batch.ids, map(_Answer, logits.cpu(), batch.labels.cpu()), strict=True))
            rows += len(batch.ids) + len(batch.bad)
        found.append(own)
    ids = list(dict.fromkeys(name for own in found for name in own))
    scores = target.scores(labels)
    for begin in range(0, len(ids), AT_ONCE):
        some = [own.get(name) for own in found for name in ids[begin : begin + AT_ONCE]]
        logits = _beside(len(runs), [answer and answer.logits for answer in some]).double()
        wanted = _beside(len(runs), [answer and answer.label for answer in some], missing=True)
        there = target.real(wanted)
        scores.update(target.mean_answer(logits, there).float(), _first_known(wanted))
    return {**scores.compute(), "samples": len(ids), "skipped": rows - len(ids)}


class _Answer(NamedTuple):
    """A run's answer to a sample, and the true label."""

    logits: Tensor
    label: Tensor


def _beside(runs: int, parts: Sequence[Tensor | None], *, missing: bool = False) -> Tensor:
    """Stack parts to `[runs, samples, ...]`, padded to the longest with 0, or with the mark of a missing label."""
    like = next(part for part in parts if part is not None)
    longest = max(part.shape[:1] for part in parts if part is not None)
    fill = 0 if not missing else math.nan if like.is_floating_point() else IGNORED
    stacked: Tensor = like.new_full((len(parts), *longest, *like.shape[1:]), fill)
    for place, part in zip(stacked, parts, strict=True):
        if part is not None:
            place[tuple(slice(size) for size in part.shape)] = part
    return stacked.reshape(runs, -1, *stacked.shape[1:])


def _first_known(labels: Tensor) -> Tensor:
    """The label of each sample from any run that has one. All that have one agree."""
    known = labels[0]
    for more in labels[1:]:
        missing = known.isnan() if known.is_floating_point() else known == IGNORED
        known = torch.where(missing, more, known)
    return known
