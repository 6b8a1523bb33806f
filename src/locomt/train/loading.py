"""From a recipe's splits to batches in a settled order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from locomt.data import Batch, collate
from locomt.train.recipe import Recipe


class CropSampler(Sampler[tuple[int, float]]):
    """Adds to each index of an epoch where in its file the crop is, from 0 to 1, for all of a sample's modalities.

    It depends on the seed, the epoch and the place in the order alone: workers draw nothing, and a sample that is drawn
    twice in an epoch has two crops.

    Args:
        sampler: takes a whole epoch from its beginning, and is told the epoch by `set_epoch`.
        seed: of the run.
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        self.sampler, self.seed = sampler, seed

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.sampler.epoch,)))
        return zip(self.sampler, rng.random(len(self.sampler)).tolist(), strict=True)


def make_loader(dataset: Dataset[Any], recipe: Recipe, sampler: Sampler[Any] | None = None) -> DataLoader[Batch]:
    """Batches of `train.batch_size`, in the order of the dataset unless a sampler says otherwise.

    Workers are seeded from `train.seed` by a generator of their own: making an iterator must not draw from the
    global one, or dropout would depend on how often one was made.
    """
    return DataLoader(
        dataset,
        batch_size=recipe.train.batch_size,
        sampler=sampler,
        num_workers=recipe.data.workers,
        collate_fn=partial(collate, config=recipe.data),
        generator=torch.Generator().manual_seed(recipe.train.seed),
        pin_memory=recipe.train.accelerator != "cpu" and torch.cuda.is_available(),
        persistent_workers=recipe.data.workers > 0,
    )
