"""The training and validation splits for Lightning's loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from locomt.data import Batch, ManifestDataset
from locomt.data.dealing import read_rows
from locomt.data.splits import others_there
from locomt.train.loading import CropSampler, make_loader
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunError
from locomt.train.sampling import EpochSampler, balancing_weights
from locomt.train.sound_augment import ChangedSound, NumberedSampler


class SplitsModule(pl.LightningDataModule):
    """Opens both splits when made, so that what is wrong with a manifest shows before a model is built.

    Args:
        recipe: says what is read.
        labels: the names of the classes.
        together: train on both, and validate by none.

    Raises:
        ValueError: the manifest cannot serve or has no training samples, or no validation samples that are needed.
    """

    def __init__(self, recipe: Recipe, labels: Sequence[str], *, together: bool = False) -> None:
        super().__init__()
        self.recipe = recipe
        data = recipe.data
        both = (data.train_split, data.val_split)
        self.train = ManifestDataset(data, both if together else data.train_split, labels)
        self.val = ManifestDataset(data, () if together else data.val_split, labels)
        if not len(self.train):
            raise ValueError(self._none(data.train_split, "data.train_split"))
        for field in ("patience", "refit"):
            if getattr(recipe.train, field) and not len(self.val):
                raise ValueError(self._none(data.val_split, f"data.val_split, which train.{field} goes by"))
        augment = recipe.train.augment
        self.changed = ChangedSound(self.train, augment, recipe.train.seed) if augment.changes_sound else None
        balanced = recipe.train.sampling == "balanced"
        self.weights = balancing_weights(self.train, labels) if balanced else None
        self.start = (0, 0)

    def _none(self, split: str, field: str) -> str:
        data = self.recipe.data
        there = others_there(split, (row.split for row in read_rows(data)))
        return f"{data.manifest}: no row has split {split!r} ({field}); {there}"

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each split."""
        data = self.recipe.data
        return {data.train_split: len(self.train), data.val_split: len(self.val)}

    # Lightning begins to load the first epoch of a resumed run before it tells the sampler which one it is: workers
    # would have fetched the batches of another. It counts the batches of an epoch that are done, and leaves it to the
    # loader to pass over them. So the checkpoint says both.

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        done, batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready, self.trainer.num_training_batches
        ended = done == batches
        return {
            "epoch": self.trainer.current_epoch + ended,
            "batches_done": 0 if ended else done,
            "samples": len(self.train),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was written.

        Raises:
            RunError: the split has another size now, in an epoch that was begun.
        """
        self.start = (state_dict["epoch"], state_dict["batches_done"])
        before, now = state_dict["samples"], len(self.train)
        if self.start[1] and before != now:
            raise RunError(
                f"{self.recipe.data.manifest} had {before} samples of split {self.recipe.data.train_split!r} when the "
                f"run was stopped amid an epoch, and now has {now}: what is left of the epoch cannot be told; put the "
                "rows back (a row whose file is bad is skipped), or name another directory"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """In an order that depends on `train.seed` and the epoch alone."""
        seed, draws = self.recipe.train.seed, self.recipe.train.epoch_samples
        sampler: Any = EpochSampler(len(self.train), seed, self.weights, draws)
        if self.recipe.data.crop is not None:
            sampler = CropSampler(sampler, seed)
        if self.changed is not None:
            sampler = NumberedSampler(sampler)
        sampler.set_epoch(self.start[0])
        return make_loader(self.changed or self.train, self.recipe, sampler, self.start)

    def val_dataloader(self) -> DataLoader[Batch]:
        """In the manifest's order."""
        return make_loader(self.val, self.recipe)
