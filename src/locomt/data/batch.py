"""Samples, and how they come together in a batch: padded, with lengths, what is bad set apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from locomt.data.config import DataConfig
from locomt.nn.timeline import reached
from locomt.tasks import IGNORED as IGNORED  # public as locomt.data.IGNORED

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        id: as the manifest has it.
        inputs: modality -> `[steps, ...]`; those which the sample lacks are left out, one is there.
        label: int64 `[]` (multiclass, ordinal), float32 `[classes]` (multilabel) or `[1]` (regression); with labels for
            steps int64 `[steps]` or float32 `[steps, 1]`; of events float32 `[time steps, classes]`. None where it is
            not known.
        more: the inputs of its further clips, of the same modalities, where it is read as several.
        missing: modality -> why its file gives nothing of it, of those that are left out for that.
    """

    id: str
    inputs: dict[str, Tensor]
    label: Tensor | None
    more: tuple[dict[str, Tensor], ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def clips(self) -> tuple[dict[str, Tensor], ...]:
        """The inputs of all its clips."""
        return (self.inputs, *self.more)


@dataclass(frozen=True)
class BadSample:
    """A sample that cannot be read.

    Attributes:
        id: as the manifest has it.
        row: its line in the manifest, from 1 (in a Parquet file its row, from 1).
        file: what could not be read: a file, or the manifest where the row itself is wrong.
        reason: what was expected and what came.
    """

    id: str
    row: int
    file: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Samples side by side; of size 0 where all of them are bad.

    Attributes:
        inputs: modality -> `[B, T, ...]`, T being that of the longest sample and zeros the padding. A modality that
            all samples lack is left out.
        lengths: for each of `inputs` int64 `[B]`: the real steps of each sample, 0 where it lacks the modality.
            They stay on the CPU, where the model wants them.
        labels: int64 `[B]` (multiclass, ordinal), float32 `[B, classes]` (multilabel) or `[B, 1]` (regression); with
            labels for steps int64 `[B, T]` padded with -100 or float32 `[B, T, 1]` padded with NaN; of events float32
            `[B, time steps, classes]`, NaN beyond the end of all of a sample's modalities. `[0]` where the samples have
            none.
        ids: of the samples, in their order.
        bad: the samples that could not be read and so are no part of the above.
        clips: how many rows of `inputs` and `lengths`, one after the other, belong to each sample; `labels` and `ids`
            have one entry a sample.
        missing: modality -> the ids of the samples without it because their files lack it.
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    lengths: dict[str, Int[Tensor, " batch"]] = field(default_factory=dict)
    labels: Shaped[Tensor, "batch *rest"] = field(default_factory=lambda: torch.empty(0))
    ids: list[str] = field(default_factory=list)
    bad: list[BadSample] = field(default_factory=list)
    clips: int = 1
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its inputs and labels on a device."""
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, labels=self.labels.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which copies to a GPU need not wait."""
        inputs = {name: tensor.pin_memory() for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, labels=self.labels.pin_memory())


def collate(samples: Sequence[Sample | BadSample], *, config: DataConfig) -> Batch:
    """Bring samples together in a batch.

    The modalities that carry a label a step are padded to the same length, which is that of the labels too. Values
    of real steps do not depend on what else is in the batch.
    """
    bad = [sample for sample in samples if isinstance(sample, BadSample)]
    good = [sample for sample in samples if isinstance(sample, Sample)]
    if not good:
        return Batch(bad=bad)
    counts = {len(sample.clips) for sample in good}
    assert len(counts) == 1, f"the samples of a batch have the same number of clips, got {counts}"
    rows = [clip for sample in good for clip in sample.clips]
    inputs, lengths = {}, {}
    labelled_steps = max((len(s.inputs[name]) for s in good for name in config.steps if name in s.inputs), default=0)
    for name in config.modalities:
        parts = [row.get(name) for row in rows]
        if all(part is None for part in parts):
            continue
        lengths[name] = torch.tensor([0 if part is None else len(part) for part in parts])
        steps = labelled_steps if name in config.steps else int(lengths[name].max())
        inputs[name] = _pad(parts, steps, 0)
    labels = [sample.label for sample in good if sample.label is not None]
    assert len(labels) in (0, len(good)), "labels are known for all samples of a batch or for none"
    stacked = config.target.stack(labels, labelled_steps) if labels else torch.empty(0)
    if config.time_steps and labels:
        stacked = within_samples(stacked, lengths, config)
    missing = {name: [sample.id for sample in good if name in sample.missing] for name in config.modalities}
    missing = {name: ids for name, ids in missing.items() if ids}
    return Batch(inputs, lengths, stacked, [sample.id for sample in good], bad, counts.pop(), missing)


def time_reached(lengths: Mapping[str, Int[Tensor, " batch"]], config: DataConfig) -> Bool[Tensor, "batch steps"]:
    """The time steps of a temporal task that begin before the end of one of the sample's modalities or more."""
    ends = [reached(lengths[name], pace, config.time_steps) for name, pace in config.pace.items() if name in lengths]
    return torch.stack(ends).any(dim=0)


def within_samples(
    labels: Float[Tensor, "batch steps classes"], lengths: Mapping[str, Int[Tensor, " batch"]], config: DataConfig
) -> Float[Tensor, "batch steps classes"]:
    """The labels of a temporal task, NaN where a sample has ended: about what is not there nothing can be said."""
    there = time_reached(lengths, config).to(labels.device)
    return labels.masked_fill(~there[..., None], float("nan"))


def average_clips(logits: Shaped[Tensor, "rows *rest"], clips: int) -> Shaped[Tensor, "batch *rest"]:
    """The model's outputs for the rows of a batch, averaged over the clips of each sample.

    It is the logits that are averaged, as in the evaluation of MBT (Nagrani et al., NeurIPS 2021; in its public code
    four clips a sample).
    """
    return logits if clips == 1 else logits.unflatten(0, (-1, clips)).mean(dim=1)


def _pad(parts: Sequence[Tensor | None], steps: int, value: float) -> Tensor:
    """`[steps_i, ...]` each, or None for nothing, to `[len(parts), steps, ...]`."""
    like = next(part for part in parts if part is not None)
    padded = like.new_full((len(parts), steps, *like.shape[1:]), value)
    for place, part in zip(padded, parts, strict=True):
        if part is not None:
            place[: len(part)] = part
    return padded
