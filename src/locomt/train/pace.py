"""How far training is and how long it takes, told to whoever listens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl

from locomt.data import Batch
from locomt.progress import Stage
from locomt.train.module import FusionModule

TIMED, LEAST, SHORT = 3, 2.0, 20.0
"""Steps, and seconds of them, by which an epoch is estimated; one that is shorter is timed as a whole."""
FORWARD = 1 / 3
"""What a step of validation costs of one of training, whose way back costs two ways forward."""


class Pace(pl.Callback):
    """Tells every step, and once, as soon as it is known, how long an epoch takes.

    The clock starts behind the first step, which takes longer than those after it.
    """

    def __init__(self, seen: Stage, epochs: int) -> None:
        self.seen, self.epochs = seen, epochs
        self.told = False
        self.timed: list[float] = []
        self.samples, self.since = 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seen.begin(int(trainer.estimated_stepping_batches), trainer.global_step)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.samples, self.since = 0, time.monotonic()
        if not self.told:
            self.timed = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        self.samples += len(batch.ids) * trainer.world_size
        if not self.told:
            self.timed.append(time.monotonic())
            self._estimate(trainer)

        def facts() -> Sequence[str]:
            assert isinstance(module, FusionModule)
            total, count = module.train_loss.sums.tolist()
            (optimizer,) = trainer.optimizers
            spent = time.monotonic() - self.since
            return (
                *([f"loss {total / count:.3g}"] if count else []),
                f"rate {optimizer.param_groups[0]['lr']:.3g}",
                f"{self.samples / spent:.3g} samples/s",
                f"epoch {trainer.current_epoch + 1} of {self.epochs}",
            )

        self.seen.at(trainer.global_step, facts)

    def _estimate(self, trainer: pl.Trainer) -> None:
        """Tell how long an epoch will take, where that is long."""
        steps, spent = len(self.timed) - 1, self.timed[-1] - self.timed[0]
        if steps < TIMED or spent < LEAST:
            return
        batches = int(trainer.num_training_batches) + FORWARD * sum(map(int, trainer.num_val_batches))
        seconds = spent / steps * batches
        if seconds > SHORT:
            self._tell(trainer, seconds, seconds * (1 - len(self.timed) / batches))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Tell how long the epoch took; after validation, before anything is written."""
        if not self.told and self.timed:
            steps = len(self.timed) - 1
            first = (self.timed[-1] - self.timed[0]) / steps if steps else self.timed[0] - self.since
            self._tell(trainer, time.monotonic() - self.timed[0] + first, 0.0)

    def _tell(self, trainer: pl.Trainer, seconds: float, rest: float) -> None:
        """Say how long an epoch takes, and when all will be done; `rest` is of the present one."""
        self.told = True
        left = rest + seconds * (self.epochs - trainer.current_epoch - 1)
        end = time.localtime(time.time() + left)
        day = "" if end.tm_yday == time.localtime().tm_yday else f"{time.strftime('%A', end)} "
        self.seen.note(f"an epoch takes about {spoken(seconds)}; the end is expected at {day}{_clock(end)}")


def spoken(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3.5 min`, `2.1 h`."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _clock(moment: time.struct_time) -> str:
    return time.strftime("%H:%M", moment)
