"""The training and validation splits for Lightning's loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from locomt.data import Batch, ManifestDataset
from locomt.train.loading import CropSampler, make_loader
from locomt.train.recipe import Recipe
from locomt.train.sampling import EpochSampler, balancing_weights


class SplitsModule(pl.LightningDataModule):
    """Opens both splits when made, so that what is wrong with a manifest shows before a model is built.

    Raises:
        ValueError: the manifest cannot serve or has no training samples.
    """

    def __init__(self, recipe: Recipe, labels: Sequence[str]) -> None:
        super().__init__()
        self.recipe = recipe
        data = recipe.data
        self.train = ManifestDataset(data, data.train_split, labels)
        if not len(self.train):
            raise ValueError(f"{data.manifest}: no row has split {data.train_split!r} (data.train_split)")
        self.val = ManifestDataset(data, data.val_split, labels)
        balanced = recipe.train.sampling == "balanced"
        self.weights = balancing_weights(self.train, labels) if balanced else None
        self.first_epoch = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each split."""
        data = self.recipe.data
        return {data.train_split: len(self.train), data.val_split: len(self.val)}

    # Lightning begins to load the first epoch of a resumed run before it tells the sampler which one it is: workers
    # would have fetched the batches of another. So the checkpoint says it.

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        return {"next_epoch": self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first_epoch = state_dict["next_epoch"]

    def train_dataloader(self) -> DataLoader[Batch]:
        """In an order that depends on `train.seed` and the epoch alone."""
        seed = self.recipe.train.seed
        sampler: EpochSampler | CropSampler = EpochSampler(len(self.train), seed, self.weights)
        if self.recipe.data.crop is not None:
            sampler = CropSampler(sampler, seed)
        sampler.set_epoch(self.first_epoch)
        return make_loader(self.train, self.recipe, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """In the manifest's order."""
        return make_loader(self.val, self.recipe)
