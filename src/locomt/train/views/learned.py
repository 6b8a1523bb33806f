"""A training run that finds its view table on the way: drawn anew every step at first, then fixed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from locomt.data import Batch
from locomt.nn.attention import ViewMixture
from locomt.nn.model import FusionModel
from locomt.train.bad import BadSampleLog
from locomt.train.module import FusionModule, TrainingError
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory, write_text
from locomt.train.views.choice import ViewChoice
from locomt.train.views.learned_config import LearnViews


class LearningModule(FusionModule):
    """Trains a model whose views are learned (`train.views`), as `train.learn_views` says.

    Until the table is fixed, a step draws a view for every head, updates the weights as any run does and the logits by
    an Adam of their own, on the loss and on what the expected cost is above the budget; validation sees the likeliest
    table within the budget. Then that table is fixed, and training goes on with it, so that the weights fit it. After
    every epoch, `views.json` of the run says how often each layer holds each view.
    """

    def __init__(self, recipe: Recipe, model: FusionModel, labels: Sequence[str], bad: BadSampleLog) -> None:
        super().__init__(recipe, model, labels, bad)
        self.settings: LearnViews = recipe.train.learn_views
        self.choice = ViewChoice(model.config, self.settings)
        self.searching = recipe.searching_epochs
        self.rows: list[dict[str, Any]] = []
        self.rule: torch.optim.Adam | None = None
        self.rule_state: dict[str, Any] | None = None
        self._follow(self.choice.best())  # what cannot be chosen from is told before anything is computed

    def _follow(self, chosen: Tensor) -> None:
        self.model.set_views(self.choice.table(chosen))

    def _best(self) -> Tensor:
        if not bool(torch.isfinite(self.choice.logits).all()):
            raise TrainingError(
                f"the logits of the views became no numbers in epoch {self.current_epoch + 1}: lower "
                f"train.learning_rate ({self.recipe.train.learning_rate:g}) or train.learn_views.learning_rate "
                f"({self.settings.learning_rate:g})"
            )
        return self.choice.best()

    @property
    def temperature(self) -> float:
        return self.settings.temperature_at(self.global_step / (self.searching * self.steps_per_epoch))

    def configure_optimizers(self) -> Any:
        self.steps_per_epoch: int = int(self.trainer.estimated_stepping_batches) // self.recipe.train.epochs
        return super().configure_optimizers()

    def on_train_start(self) -> None:
        self.rule = torch.optim.Adam(self.choice.parameters(), lr=self.settings.learning_rate)
        if self.rule_state is not None:
            self.rule.load_state_dict(self.rule_state)

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        super().on_train_batch_start(batch, index)
        if self.current_epoch >= self.searching and not self.choice.fixed:
            self.choice.chosen.copy_(self._best())
            self._follow(self.choice.chosen)

    def _train_loss(self, batch: Batch, index: int) -> Tensor:
        loss = super()._train_loss(batch, index)
        if self.choice.fixed:
            return loss
        above: Tensor = (self.choice.cost() - 1).relu()
        return loss + self.settings.cost_weight * above

    def _mixture(self) -> ViewMixture | None:
        return None if self.choice.fixed else self.choice.sample(self.temperature)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        assert self.rule is not None
        self.rule.step()
        self.rule.zero_grad()

    def on_validation_epoch_start(self) -> None:
        if not self.choice.fixed:
            self._follow(self._best())

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        choice = self.choice
        layers = choice.probabilities.detach().double().mean(dim=1).tolist()
        self.rows.append(
            {
                "epoch": self.current_epoch + 1,
                "fixed": choice.fixed,
                "temperature": None if choice.fixed else self.temperature,
                "share": choice.cost().item() * choice.limit / choice.multiall,
                "frequencies": [dict(zip(map(str, choice.views), row, strict=True)) for row in layers],
                "views": str(choice.table(choice.chosen if choice.fixed else self._best())),
            }
        )
        if self.global_rank == 0:
            run = RunDirectory(Path(self.trainer.default_root_dir))
            write_text(run.views, json.dumps(self.rows, indent=1) + "\n")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        assert self.rule is not None
        checkpoint["learn_views"] = {"rule": self.rule.state_dict(), "rows": self.rows}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        # The logits are on their device only when training starts.
        self.rule_state, self.rows = checkpoint["learn_views"]["rule"], checkpoint["learn_views"]["rows"]
        chosen = checkpoint["state_dict"]["choice.chosen"]
        if bool((chosen >= 0).all()):
            self._follow(chosen)
