"""In which order, and how often, an epoch takes the training samples."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from locomt.data import ManifestDataset
from locomt.tasks import LabelError
from locomt.tasks.class_names import places_of


class EpochSampler(Sampler[int]):
    """An order that depends on a seed and the epoch alone, so that a resumed epoch takes what it would have taken.

    Lightning tells it the epoch.

    Args:
        samples: in the split.
        seed: of the run.
        weights: `[samples]`: draw with replacement, by these; without them no sample comes twice.
        draws: length of an epoch; all samples where left out. Without weights no epoch is longer than that.
    """

    def __init__(self, samples: int, seed: int, weights: Tensor | None = None, draws: int | None = None) -> None:
        self.samples, self.seed, self.weights = samples, seed, weights
        wanted = samples if draws is None else draws
        self.draws = min(wanted, samples) if weights is None else wanted
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.draws

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        if self.weights is None:
            order = torch.randperm(self.samples, generator=generator)[: self.draws]
        else:
            order = torch.multinomial(self.weights, self.draws, replacement=True, generator=generator)
        return iter(order.tolist())


def balancing_weights(dataset: ManifestDataset, labels: Sequence[str]) -> Tensor:
    """`[samples]`: the sum over a sample's labels of 1 / how many samples have the label.

    Of one label a sample, every class is then drawn as often as the others; of several, this is how AudioSet is
    balanced by Gong et al. (AST, Interspeech 2021). A sample without labels weighs as much as the
    lightest one that has some, and a row whose label cannot be read likewise: it will be a bad sample.

    Raises:
        ValueError: the labels are numbers.
    """
    config = dataset.config
    if not config.target.has_classes:
        raise ValueError(f"train.sampling 'balanced' needs classes, and data.task is {config.task}; use 'shuffled'")
    places = places_of(labels)
    samples, classes = array("q"), array("q")  # an entry a label of a sample: AudioSet as a table would take 8 GB
    for row, manifest_row in enumerate(dataset.rows):
        try:
            has = config.target.classes_in(config.target.parse(manifest_row.label, places))
        except LabelError:
            continue
        classes.extend(has.tolist())
        samples.extend([row] * has.numel())
    weights = torch.zeros(len(dataset), dtype=torch.float64)
    if samples:
        having = torch.tensor(classes)
        share = torch.bincount(having, minlength=len(labels)).double().reciprocal()
        weights.index_add_(0, torch.tensor(samples), share[having])
    labelled = weights > 0
    return torch.where(labelled, weights, weights[labelled].min() if labelled.any() else 1.0)
