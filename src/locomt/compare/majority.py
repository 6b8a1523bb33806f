"""The score of a model that does not look at its input: one answer for all samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from locomt.data import DataConfig
from locomt.data.dealing import read_rows
from locomt.tasks import LabelError
from locomt.tasks.class_names import places_of


def majority(data: DataConfig, labels: Sequence[str]) -> dict[str, float | None]:
    """The metrics on the test split of the best constant answer, chosen by the labels of the training split.

    The answer is, for example, the most frequent class, or the frequency of each class (for events: over steps); see
    `Task.floor`. No sample is opened. So bad samples count too, and those of a temporal task count in full length.

    Raises:
        ValueError: a split has no row with a label.
    """
    train, test = (_labels(data, split, labels) for split in (data.train_split, data.test_split))
    answer, scores = data.target.floor(train, len(labels)), data.target.scores(labels)
    scores.update(answer.expand(len(test), *([data.time_steps] if data.time_steps else []), -1), test)
    metrics: dict[str, float | None] = scores.compute()["metrics"]
    return metrics


def _labels(data: DataConfig, split: str, labels: Sequence[str]) -> Tensor:
    """The labels of a split, those of steps one after the other. Invalid labels are left out."""
    places = places_of(labels)
    found = []
    for row in read_rows(data):
        if row.split != split:
            continue
        try:
            label = data.target.parse(row.label, places)
        except LabelError:
            continue  # the run names it and skips it
        if data.steps:
            found.append(label[: data.modalities[data.steps[0]].max_steps])
        else:
            found.append(label[None])
    if not found:
        raise ValueError(f"{data.manifest}: no row of split {split!r} has a label")
    return torch.cat(found)
