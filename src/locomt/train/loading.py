"""From a recipe's splits to batches in a settled order, of which each process takes its share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from locomt import ranks
from locomt.data import Batch, collate
from locomt.train.recipe import Recipe


class AroundSampler(Sampler[Any]):
    """Says more of each index that another sampler gives.

    Args:
        sampler: takes a whole epoch from its beginning, and is told the epoch by `set_epoch`.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    @property
    def epoch(self) -> int:
        return int(self.sampler.epoch)

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)


class CropSampler(AroundSampler):
    """Adds to each index of an epoch where in its file the crop is, from 0 to 1, for all of a sample's modalities.

    It depends on the seed, the epoch and the place in the order alone: workers draw nothing, and a sample that is drawn
    twice in an epoch has two crops.

    Args:
        sampler: takes a whole epoch from its beginning, and is told the epoch by `set_epoch`.
        seed: of the run.
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        super().__init__(sampler)
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[int, float]]:
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.epoch,)))
        return zip(self.sampler, rng.random(len(self.sampler)).tolist(), strict=True)


class ShareSampler(Sampler[list[Any]]):
    """The batches of an epoch, of each of which every process takes its share: of n processes every n-th sample.

    Batches are the same whatever the number of processes, and each sample of them goes to exactly one: shares of a
    batch that cannot be divided differ by one sample, and may be empty.

    Args:
        sampler: the order of an epoch, the same in all processes; Lightning tells it the epoch.
        batch_size: samples to a batch of all processes together.
        share: the number of this process, and how many there are.
        start: the epoch, and how many of its batches are left out because they were taken before.
    """

    def __init__(
        self, sampler: Any, batch_size: int, share: tuple[int, int] = (0, 1), start: tuple[int, int] = (0, 0)
    ) -> None:
        self.sampler, self.batch_size, self.share, self.start = sampler, batch_size, share, start

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever it is begun: Lightning goes on counting where it was stopped."""
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        epoch, batches = self.start
        resumed = batches and epoch == self.sampler.epoch
        order = islice(self.sampler, batches * self.batch_size if resumed else 0, None)
        number, count = self.share
        while batch := list(islice(order, self.batch_size)):
            yield batch[number::count]


def make_loader(
    dataset: Dataset[Any], recipe: Recipe, sampler: Any = None, start: tuple[int, int] = (0, 0)
) -> DataLoader[Batch]:
    """Batches of `train.batch_size`, in the order of the dataset unless a sampler says otherwise.

    Where `torch.distributed` is in use, these are shares of batches, see `ShareSampler`. Workers are seeded from
    `train.seed` by a generator of their own: making an iterator must not draw from the global one, or dropout would
    depend on how often one was made.
    """
    sampler = SequentialSampler(dataset) if sampler is None else sampler  # type: ignore[arg-type]
    return DataLoader(
        dataset,
        batch_sampler=ShareSampler(sampler, recipe.train.batch_size, ranks.place(), start),
        num_workers=recipe.data.workers,
        collate_fn=partial(collate, config=recipe.data),
        generator=torch.Generator().manual_seed(recipe.train.seed),
        pin_memory=recipe.train.accelerator != "cpu" and torch.cuda.is_available(),
        persistent_workers=recipe.data.workers > 0,
    )
