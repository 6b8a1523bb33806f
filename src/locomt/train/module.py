"""One training run as Lightning sees it: loss, scores, optimiser, and the seeds of every epoch."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from locomt import ranks
from locomt.data import Batch
from locomt.nn.attention import ViewMixture
from locomt.nn.model import FusionModel
from locomt.train.augment import Augment
from locomt.train.bad import BadSampleLog
from locomt.train.by_modality import ByModality
from locomt.train.mean_loss import MeanLoss
from locomt.train.optim import make_optimizer, make_schedule
from locomt.train.recipe import Recipe
from locomt.train.refit import skills_in
from locomt.train.standards import standards_of

TRIAL = 0.1
"""Of all steps: the first ones, in which single modalities have losses whatever validation says of them."""


class TrainingError(ValueError):
    """Training that cannot go on: says why and which field to change."""


def seed_all(seed: int, *part: int) -> None:
    """Seed every generator for one part of a run: 0 is the initial weights; epoch, batch and process, from 1, a step.

    No state is carried from one part to the next, so that a resumed run draws what the run that was never
    stopped drew.
    """
    torch_seed, other = np.random.SeedSequence((seed, *part)).generate_state(2)
    torch.manual_seed(int(torch_seed))
    random.seed(int(other))
    np.random.seed(int(other))


class FusionModule(pl.LightningModule):
    """Trains a `FusionModel` as a recipe says. Tells `train_loss`, `val_loss` and `val_<metric>` of every epoch.

    A step's loss is the mean over all of its samples, in the shares of several processes and the batches of
    `train.accumulate` as in one batch.

    Attributes:
        told: what the epoch came to: name -> number, NaN where it is undefined.
        earlier: the rows of a training that this one repeats without a validation split: what single modalities count
            in an epoch goes by them.
        taken: how many samples each batch of the step has so far, in all processes; batches without any are left out.
    """

    def __init__(self, recipe: Recipe, model: FusionModel, labels: Sequence[str], bad: BadSampleLog) -> None:
        super().__init__()
        self.recipe, self.model, self.bad = recipe, model, bad
        self.scores = recipe.data.target.scores(labels)
        self.train_loss, self.val_loss = MeanLoss(), MeanLoss()
        self.validated: float | None = None
        self.told: dict[str, float] = {}
        self.earlier: Sequence[Mapping[str, float | None]] = ()
        self.taken: list[int] = []
        self.total_steps = 0
        self.parts: ByModality | None = None
        if len(model.config.read) > 1:
            fixed = not recipe.train.view_training.changes  # else it is about what the tables do
            self.parts = ByModality(recipe.data.target, labels, model, may_be_apart=fixed)
        self.augment = Augment(recipe.train.augment, recipe.data, len(labels), recipe.train.seed, standards_of(model))

    def on_train_epoch_start(self) -> None:
        if self.parts is not None and self.earlier and self.current_epoch:
            self.parts.skills, self.parts.together = skills_in(self.earlier[self.current_epoch - 1])

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        seed_all(self.recipe.train.seed, self.current_epoch + 1, index + 1, self.global_rank + 1)

    def training_step(self, batch: Batch, index: int) -> Tensor | None:
        self._count(self.recipe.data.train_split, batch)
        batch = self.augment(batch, self.current_epoch, index, self.global_rank)
        weight = self._weight(batch)
        if weight is None and not ranks.in_use():  # not one of the samples could be read
            return None
        if not batch.ids:  # others may have some: this process takes part in their step
            # By a parameter that every sample uses: those of a modality that the others lack are to be left alone.
            return 0 * [p for p in self.model.parameters() if p.requires_grad][-1].sum()
        assert weight is not None
        return weight * self._train_loss(batch, index)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        taken, self.taken = self.taken, []
        if not taken:  # as with one process: no step, not one of momentum or weight decay either
            self.zero_grad(set_to_none=True)
            return
        if len(taken) > 1:
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            torch._foreach_mul_(gradients, taken[0] / sum(taken))
        if self.parts is not None:
            self.parts.measure_gradients(self.model)

    def _train_loss(self, batch: Batch, index: int) -> Tensor:
        """The loss that a step goes down, of a batch with samples in it."""
        smoothing = self.recipe.train.label_smoothing
        if self.parts is None or not (weight := self._weight_of_parts()):
            logits = self.model(batch.inputs, batch.lengths, self._mixture())
            return self._loss(logits, batch.labels, self.train_loss, smoothing)
        apart = self.model.apart(batch.inputs, batch.lengths, self._mixture())
        together = self._loss(self.model.logits(apart.reads), batch.labels, self.train_loss, smoothing)
        return together + weight * self.parts.loss(apart.alone, batch.labels, smoothing)

    def _weight_of_parts(self) -> float:
        """What the losses of single modalities count beside that of all together."""
        if self.parts is None or not self._weighs:
            return 0.0
        trial = self.trainer.global_step < TRIAL * self.total_steps
        return self.recipe.train.unimodal_loss * (1.0 if trial else self.parts.worth)

    @property
    def _weighs(self) -> bool:
        """Whether single modalities have losses: validation has to say what they are worth."""
        return self.recipe.train.unimodal_loss > 0 and (self.trainer.limit_val_batches > 0 or bool(self.earlier))

    def _mixture(self) -> ViewMixture | None:
        """Of views, in place of the model's table."""
        return None

    def validation_step(self, batch: Batch, index: int) -> None:
        self._count(self.recipe.data.val_split, batch)
        if not batch.ids:
            return
        if self.parts is None:
            self._score(self.model(batch.inputs, batch.lengths), batch.labels)
            return
        self.parts.add(self.model.apart(batch.inputs, batch.lengths), batch.labels)

    def _score(self, logits: Tensor, labels: Tensor) -> None:
        self._loss(logits, labels, self.val_loss)
        self.scores.update(logits, labels)

    def _count(self, split: str, batch: Batch) -> None:
        self.bad.add(split, batch.bad)
        self.bad.lack(split, batch.missing)

    def _loss(self, logits: Tensor, labels: Tensor, mean: MeanLoss, smoothing: float = 0.0) -> Tensor:
        """The loss of a batch; the mean of the epoch takes it in."""
        loss = self.recipe.data.target.loss(logits, labels, smoothing)
        mean.update(loss, len(labels))
        return loss

    def _weight(self, batch: Batch) -> float | None:
        """What to multiply this process's mean by, of which the mean over all processes and batches of the step is
        taken; None of no samples.

        Shares of a batch differ in size where it cannot be divided, and batches where an epoch ends or samples are bad.
        How many samples the step will have is not known before its last batch is read: all batches are weighed by the
        first one's, and the gradient is put right before the step.
        """
        batches = self.recipe.train.accumulate
        sole = batches == 1 and not ranks.in_use()  # nothing to weigh against, which a GPU need not be waited for
        own = len(batch.ids) if sole else self.recipe.data.target.count(batch.labels)
        everywhere = int(ranks.total(torch.tensor(own, device=self.device))) if ranks.in_use() else own
        if not everywhere:
            return None
        self.taken.append(everywhere)
        return batches * own * self.trainer.world_size / self.taken[0]

    def on_validation_epoch_end(self) -> None:
        found: dict[str, float] = {}
        if self.parts is not None:
            for logits, labels in self.parts.answers(weighed=self._weighs):
                self._score(logits, labels)
            found |= self.parts.validated()
        loss = self.val_loss.compute()
        if loss is None:
            raise TrainingError(f"not one sample of split {self.recipe.data.val_split!r} could be read")
        self.validated = loss
        found["val_loss"] = loss
        for name, value in self.scores.compute()["metrics"].items():
            found[f"val_{name}"] = math.nan if value is None else float(value)
        self._tell(found)
        self.scores.reset()

    def on_train_epoch_end(self) -> None:
        loss = self.train_loss.compute()
        if loss is None:
            raise TrainingError(f"not one sample of split {self.recipe.data.train_split!r} could be read")
        self._check_finite(loss)
        found = {"train_loss": loss}
        if self.parts is not None:
            found |= self.parts.trained()
            found["unimodal_weight"] = self._weight_of_parts()
        self._tell(found)

    def _tell(self, found: Mapping[str, float]) -> None:
        """Take in numbers of the epoch, which are those of all processes, for its row and for loggers.

        Lightning's own `log` gathers and averages numbers of batches; that takes longer than an epoch of few steps.
        """
        self.told |= dict(zip(found, torch.tensor(list(found.values())).tolist(), strict=True))  # in float32

    def _check_finite(self, loss: float) -> None:
        """Stop before an epoch that came to no numbers is kept."""
        epoch, rate = self.current_epoch + 1, self.recipe.train.learning_rate
        advice = f"lower train.learning_rate ({rate:g}), lengthen train.warmup_epochs or set train.clip_norm"
        if not math.isfinite(loss):
            raise TrainingError(f"the training loss became {loss} in epoch {epoch}: {advice}")
        for name, weights in self.model.named_parameters():
            if not bool(weights.isfinite().all()):
                raise TrainingError(f"the weights {name} became no finite numbers in epoch {epoch}: {advice}")
        val = self.validated
        if val is not None and not math.isfinite(val):
            raise TrainingError(
                f"the validation loss became {val} in epoch {epoch}, and the training loss is {loss:.4g}: {advice}; or "
                f"look for values beyond reason in split {self.recipe.data.val_split!r}"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_loss"] = ranks.total(self.train_loss.sums)
        if self.parts is not None:
            checkpoint["parts"] = self.parts.state()
            checkpoint["shares"], checkpoint["apart"] = self.parts.shares, self.parts.apart

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        first = self.global_rank == 0
        if first:  # it holds the sums of all processes
            self.train_loss.sums = checkpoint["train_loss"]
        if self.parts is not None and isinstance(state := checkpoint.get("parts"), dict):  # older ones do not have it
            self.parts.restore(state, first=first)

    def configure_optimizers(self) -> Any:
        config = self.recipe.train
        optimizer = make_optimizer(self.model, config)
        # Asked once: it is fewer later, where a run goes on amid an epoch.
        self.total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = make_schedule(optimizer, config, self.total_steps // config.epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
