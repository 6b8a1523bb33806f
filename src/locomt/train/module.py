"""One training run as Lightning sees it: loss, scores, optimiser, and the seeds of every epoch."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from locomt.data import Batch
from locomt.nn.model import FusionModel
from locomt.train.augment import Augment
from locomt.train.bad import BadSampleLog
from locomt.train.losses import task_loss
from locomt.train.metrics import make_scores
from locomt.train.optim import make_optimizer, make_schedule
from locomt.train.recipe import Recipe


class TrainingError(ValueError):
    """Training that cannot go on: says why and which field to change."""


def seed_all(seed: int, part: int) -> None:
    """Seed every generator for one part of a run: 0 is the initial weights, n the n-th epoch.

    No state is carried from one part to the next, so that a resumed run draws what the run that was never
    stopped drew.
    """
    torch_seed, other = np.random.SeedSequence((seed, part)).generate_state(2)
    torch.manual_seed(int(torch_seed))
    random.seed(int(other))
    np.random.seed(int(other))


class FusionModule(pl.LightningModule):
    """Trains a `FusionModel` as a recipe says. Logs `train_loss`, `val_loss` and `val_<metric>` every epoch."""

    def __init__(self, recipe: Recipe, model: FusionModel, labels: Sequence[str], bad: BadSampleLog) -> None:
        super().__init__()
        self.recipe, self.model, self.bad = recipe, model, bad
        self.scores = make_scores(recipe.data.task, labels)
        self.augment = Augment(recipe.train.augment, recipe.data, len(labels), recipe.train.seed)

    def on_train_start(self) -> None:
        self.bad.clear()

    def on_train_epoch_start(self) -> None:
        seed_all(self.recipe.train.seed, self.current_epoch + 1)

    def training_step(self, batch: Batch, index: int) -> Tensor | None:
        batch = self.augment(batch, self.current_epoch, index, self.global_rank)
        return self._step(batch, self.recipe.data.train_split, "train_loss", self.recipe.train.label_smoothing)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._step(batch, self.recipe.data.val_split, "val_loss")

    def _step(self, batch: Batch, split: str, name: str, smoothing: float = 0.0) -> Tensor | None:
        self.bad.add(split, batch.bad)
        if not batch.ids:
            return None  # not one of its samples could be read
        logits = self.model(batch.inputs, batch.lengths)
        loss = task_loss(self.recipe.data.task, logits, batch.labels, smoothing)
        if name == "val_loss":
            self.scores.update(logits, batch.labels)
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(batch.ids))
        return loss

    def on_validation_epoch_end(self) -> None:
        if "val_loss" not in self.trainer.callback_metrics:
            raise TrainingError(f"not one sample of split {self.recipe.data.val_split!r} could be read")
        for name, value in self.scores.compute()["metrics"].items():
            self.log(f"val_{name}", math.nan if value is None else float(value))
        self.scores.reset()

    def on_train_epoch_end(self) -> None:
        loss = self.trainer.callback_metrics.get("train_loss")
        if loss is None:
            raise TrainingError(f"not one sample of split {self.recipe.data.train_split!r} could be read")
        if not loss.isfinite():
            raise TrainingError(
                f"the training loss became {loss.item()} in epoch {self.current_epoch + 1}: lower train.learning_rate "
                f"({self.recipe.train.learning_rate:g}), lengthen train.warmup_epochs or set train.clip_norm"
            )

    def configure_optimizers(self) -> Any:
        config = self.recipe.train
        optimizer = make_optimizer(self.model, config)
        steps = int(self.trainer.estimated_stepping_batches) // config.epochs
        schedule = make_schedule(optimizer, config, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
