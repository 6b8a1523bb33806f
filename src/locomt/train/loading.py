"""From a recipe's splits to batches in a settled order."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from locomt.data import Batch, collate
from locomt.train.recipe import Recipe


def make_loader(dataset: Dataset[Any], recipe: Recipe, sampler: Sampler[int] | None = None) -> DataLoader[Batch]:
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
