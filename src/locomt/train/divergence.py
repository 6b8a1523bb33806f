"""Training that ended with finite numbers that mean nothing: how that is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from locomt.data import ManifestDataset
from locomt.data.labels import LabelError, parse_label

TRAIN_TIMES, VAL_TIMES = 10, 100
"""How often the loss of an answer without looking is beyond all reason. A model that has learned its training samples
by heart may be sure and wrong about others."""


def blind_loss(dataset: ManifestDataset, outputs: int) -> float:
    """About the most that an answer without looking at a sample costs, the best of its kind or an untrained model's.

    All classes alike is ln n of cross-entropy, and ln 2 of a yes or no. Of numbers it is the mean square of the labels,
    0 being the answer, and 1 for what an untrained head says instead of 0.
    """
    config = dataset.config
    if config.task == "multiclass":
        return math.log(max(2, outputs))
    if config.task != "regression":
        return math.log(2)
    squares = count = 0.0
    for row in dataset.rows:
        try:
            label = parse_label(row.label, config, {}).double()
        except LabelError:
            continue  # the run names it and skips it
        squares += label.square().sum().item()
        count += label.numel()
    return 1 + (squares / count if count else 0.0)


def divergence(
    rows: Sequence[Mapping[str, float | None]], blind: Mapping[str, float], learning_rate: float
) -> str | None:
    """A line where one of the rows, those of the last and of the exported epoch, has a loss beyond all reason.

    Args:
        rows: as `metrics.csv` has them.
        blind: `train` and `val`: `blind_loss` of the split.
        learning_rate: that it was trained with.
    """
    for row in rows:
        for split, times in (("train", TRAIN_TIMES), ("val", VAL_TIMES)):
            loss = row.get(f"{split}_loss")
            if loss is not None and loss > times * blind[split]:
                return (
                    f"training diverged: {split}_loss is {loss:.3g} in epoch {row['epoch']:.0f}, and an answer without "
                    f"looking costs about {blind[split]:.3g}; lower train.learning_rate ({learning_rate:g}), lengthen "
                    "train.warmup_epochs or set train.clip_norm"
                )
    return None
