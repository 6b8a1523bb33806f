"""What a run leaves behind after every epoch and amid long ones: rows of metrics and checkpoints, whole or absent."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from locomt.train.averaging import Averaging
from locomt.train.bad import BadSampleLog
from locomt.train.module import FusionModule
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory, replacing, write_text
from locomt.train.saved import load_checkpoint

Row = dict[str, float | None]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints beside their destination and renames them; reads them without running code.

    Lightning's own writer goes by way of the system's temporary directory: where that is another file system,
    the last move is a copy that an interruption leaves half done.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        # By a file of ours: the error of torch's own says nothing of what is wrong with the disk.
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = lambda storage, location: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        return load_checkpoint(path, map_location)


class EpochKeeper(Checkpoint):
    """After every epoch: a row in `metrics.csv` and for loggers, `last.ckpt`, and, of the best so far, `best.ckpt`.

    Amid an epoch: `last.ckpt` every `train.checkpoint_minutes`, after a step. A checkpoint also has what the row of an
    epoch that was begun is made of: the seconds spent, and the samples met so far that are bad or lack a modality (the
    sums of the loss are the module's, the place in the order is the data module's).

    The best epoch has the best monitored metric, among equals the lowest validation loss (on a small split accuracy
    reaches its top long before the model does), and among equals of these it is the earliest. An epoch in which the
    metric is undefined is not the best; where it is so in all of them, as of a split without positives, the lowest
    validation loss decides. Without a validation split it is the last epoch. While views are being learned no epoch
    counts: its weights fit no table yet. All that is remembered are the rows, which travel in the checkpoint: a resumed
    run has its whole history. Where `train.patience` epochs have passed since the best one, training ends.

    Args:
        run: where to write.
        recipe: says what is monitored.
        bad: counts the samples that are skipped or lack a modality.
        on_epoch: told every row.
        averaging: has the weights that are kept of an epoch, where they are not those that training goes on from.
    """

    def __init__(
        self,
        run: RunDirectory,
        recipe: Recipe,
        bad: BadSampleLog,
        on_epoch: Callable[[Mapping[str, float | None]], None] | None = None,
        averaging: Averaging | None = None,
    ) -> None:
        self.run, self.bad, self.on_epoch, self.averaging = run, bad, on_epoch, averaging
        self.interval, self.batches = 60 * recipe.train.checkpoint_minutes, recipe.train.accumulate
        self.begun: dict[str, Any] = {"seconds": 0.0, "bad": [], "missing": {}}
        self.monitor = f"val_{recipe.monitor}"
        self.sign = 1 if recipe.monitor_mode == "max" else -1
        self.passed, self.patience = recipe.searching_epochs, recipe.train.patience
        self.rows: list[Row] = []

    @property
    def best(self) -> Row | None:
        """The row of the best epoch so far."""
        name, rows = self.judge, self.rows[self.passed :]
        sign = self.sign if name == self.monitor else -1
        scored = []
        for row in rows:
            score, loss = row.get(name), row.get("val_loss")
            if score is not None:
                scored.append((sign * score, -math.inf if loss is None else -loss, row))
        # Of equals `max` takes the first.
        return max(scored, key=lambda entry: entry[:2])[2] if scored else next(reversed(rows), None)

    @property
    def judge(self) -> str:
        """What the best epoch is judged by: the monitored metric, or `val_loss` where no epoch has it."""

        def known(name: str) -> bool:
            return any(row.get(name) is not None for row in self.rows[self.passed :])

        return "val_loss" if known("val_loss") and not known(self.monitor) else self.monitor

    @property
    def patient(self) -> bool:
        """Whether the best epoch is among the last `train.patience`, or there is none yet."""
        last = self.rows[-self.patience :]  # with a patience of 0 these are all
        return (best := self.best) is None or any(row is best for row in last)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.should_stop = not self.patient  # where it was interrupted between its last epoch and its end
        self.saved = time.monotonic()
        self.started = self.saved - self.begun["seconds"]  # an epoch that is gone on with is not started anew
        self.bad.begin(self.begun["bad"], self.begun.get("missing"))  # which older checkpoints do not have

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if not self.interval or trainer.is_last_batch:  # whose epoch ends with a checkpoint
            return
        if (index + 1) % self.batches:  # a checkpoint holds no gradients
            return
        due = time.monotonic() - self.saved >= self.interval
        if trainer.strategy.reduce_boolean_decision(due, all=False):  # the clocks of processes differ
            self.bad.share()
            self._save(trainer, time.monotonic() - self.started)

    def _save(self, trainer: pl.Trainer, seconds: float) -> None:
        self.begun = {"seconds": seconds, "bad": self.bad.lines(), "missing": self.bad.lacking()}
        trainer.save_checkpoint(self.run.last)
        self.saved = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bad.share()
        (optimizer,) = trainer.optimizers
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "learning_rate": optimizer.param_groups[0]["lr"],
        }
        assert isinstance(module, FusionModule)
        for name, number in sorted(module.told.items(), key=lambda entry: not entry[0].startswith("train")):
            row[name] = number if math.isfinite(number) else None
        row["skipped"] = self.bad.total
        row["seconds"] = round(time.monotonic() - self.started, 3)
        self.rows.append(row)
        for logger in trainer.loggers:
            numbers = {name: math.nan if value is None else value for name, value in row.items() if name != "step"}
            # Epochs and steps count from 0 there.
            logger.log_metrics({**numbers, "epoch": trainer.current_epoch}, max(0, trainer.global_step - 1))
            logger.save()
        if trainer.is_global_zero:
            write_text(self.run.history, as_csv(self.rows))
        if self.best is row:
            with self.averaging.in_place() if self.averaging else nullcontext():
                trainer.save_checkpoint(self.run.best, weights_only=True)
        self._save(trainer, 0.0)
        trainer.should_stop = not self.patient
        if self.on_epoch:
            self.on_epoch(row)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "begun": self.begun}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.begun = state_dict["rows"], state_dict["begun"]


def as_csv(rows: list[Row]) -> str:
    """The rows as a CSV file; what is not defined is an empty cell."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
