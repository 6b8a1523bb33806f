"""Training that ended with finite numbers that mean nothing: how that is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from locomt.data import ManifestDataset
from locomt.tasks import LabelError

TRAIN_TIMES, VAL_TIMES = 10, 100
"""How often the loss of an answer without looking is beyond all reason. A model that has learned its training samples
by heart may be sure and wrong about others."""


def blind_loss(dataset: ManifestDataset, classes: int) -> float:
    """About the most that an answer without looking at a sample of the split costs, see `Task.blind_loss`."""
    return dataset.config.target.blind_loss(classes, _labels(dataset))


def _labels(dataset: ManifestDataset) -> Iterator[Tensor]:
    for row in dataset.rows:
        try:
            yield dataset.config.target.parse(row.label, dataset.places)
        except LabelError:
            continue  # the run names it and skips it


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
