"""The training and validation splits for Lightning's loop."""

from __future__ import annotations

from collections.abc import Sequence

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from locomt.data import Batch, ManifestDataset
from locomt.train.loading import make_loader
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

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each split."""
        data = self.recipe.data
        return {data.train_split: len(self.train), data.val_split: len(self.val)}

    def train_dataloader(self) -> DataLoader[Batch]:
        """In an order that depends on `train.seed` and the epoch alone."""
        return make_loader(self.train, self.recipe, EpochSampler(len(self.train), self.recipe.train.seed, self.weights))

    def val_dataloader(self) -> DataLoader[Batch]:
        """In the manifest's order."""
        return make_loader(self.val, self.recipe)
