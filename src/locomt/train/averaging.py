"""An exponential moving average of the weights, which takes their place in validation and in what a run keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from locomt.train.run_directory import RunError
from locomt.train.saved import AGAIN, check_weights


class WeightAverage(AveragedModel):
    """The average of a model's weights: each step takes over 1 - decay of the difference.

    After n steps the decay is at most (1 + n) / (10 + n), as TensorFlow's `ExponentialMovingAverage` has it with
    `num_updates`: else a short run would keep what it began with. Buffers, such as the mean and std of what is
    standardised, stay as they are. The training goes on from its own weights, which it knows nothing else of.

    Args:
        model: whose weights are averaged.
        decay: in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def take_in(averages: Any, weights: Any, steps: Tensor | int) -> None:
            count = int(steps)
            torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + count) / (10 + count)))

        super().__init__(model, multi_avg_fn=take_in)
        self.requires_grad_(False)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Give the model the averages, and keep its own weights meanwhile; or undo that."""
        for average, weight in zip(self.module.parameters(), model.parameters(), strict=True):
            own = weight.clone()
            weight.copy_(average)
            average.copy_(own)


class Averaging(pl.Callback):
    """Takes in the weights after every step, before a checkpoint of it is made, and has the averages validated.

    Lightning's own `EMAWeightAveraging` takes them back before the module ends its validation, in which the head finds
    what each modality counts, and averages buffers that are numbers of views.

    Args:
        model: as it starts.
        decay: as for `WeightAverage`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        # It is no part of the module, whose parameters several processes keep alike and the optimiser asks for.
        self.model, self.average, self.steps = model, WeightAverage(model, decay), 0

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model has the averages."""
        self.average.swap(self.model)
        yield
        self.average.swap(self.model)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.average.to(module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step > self.steps:  # a step may take several batches
            self.steps = trainer.global_step
            self.average.update_parameters(self.model)

    def on_validation_start(self, *_: Any) -> None:
        self.average.swap(self.model)

    def on_validation_end(self, *_: Any) -> None:
        self.average.swap(self.model)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        steps, weights = state.get("steps"), state.get("average")
        if not isinstance(steps, int) or not isinstance(weights, dict):
            raise RunError(f"last.ckpt: expected the averages of train.ema, got {state!r:.60}; {AGAIN}")
        check_weights("last.ckpt: the averages of train.ema", weights, self.average.state_dict())
        self.steps = steps
        self.average.load_state_dict(weights)
