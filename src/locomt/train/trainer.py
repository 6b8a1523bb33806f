"""One training by Lightning's Trainer, from its start or its last checkpoint to its last epoch."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

from locomt import progress
from locomt.nn.config import FusionConfig
from locomt.nn.model import FusionModel
from locomt.nn.own_towers import is_own
from locomt.nn.pretrained import fill_towers
from locomt.train.averaging import Averaging
from locomt.train.bad import BadSampleLog
from locomt.train.datamodule import SplitsModule
from locomt.train.epoch_keeper import AtomicCheckpointIO, EpochKeeper
from locomt.train.loggers import open_loggers
from locomt.train.module import FusionModule, TrainingError, seed_all
from locomt.train.optim import freeze
from locomt.train.pace import Pace
from locomt.train.pretrained_input import differences
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory
from locomt.train.saved import check_last
from locomt.train.standards import fill_standards
from locomt.train.start import fill_from_run, model_folder

LOG = logging.getLogger("locomt")
NOISE = (
    "The '.*_dataloader' does not have many workers",  # data.workers says how many
    r"Found \d+ module\(s\) in eval mode at the start of training",  # train.frozen
    "`training_step` returned `None`",  # a batch of bad samples alone, which the log of bad samples names
    "You're resuming from a checkpoint that ended before the epoch ended",  # the sampler passes over what is done
    "`broadcast_buffers` is deprecated",  # in Lightning 2.6; what replaces it is not in torch 2.11
    "It is recommended to use .*sync_dist=True",  # losses and scores are those of all processes already
    "Grad strides do not match bucket view strides",  # of [CLS] tokens, whose outer axes have one entry
    "The .grad attribute of a Tensor that is not a leaf",  # the compiler looks at what goes into a layer
    "Experiment logs directory .* exists and is not empty",  # which `open_loggers` has taken in
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # between Lightning 2.6 and torch 2.13 or later
)
"""Warnings of Lightning and torch that tell the user nothing to act upon."""
KINDS_OF_LAYERS = 32
"""More are left as they are: where token counts change from batch to batch, compiling each would take the day."""


def train(
    recipe: Recipe,
    run: RunDirectory,
    first: bool,
    splits: SplitsModule,
    labels: list[str],
    config: FusionConfig,
    begin: Callable[[], None],
    on_epoch: Callable[[Mapping[str, float | None]], None] | None,
    on_step: Callable[[int, int], None] | None,
    seen: progress.Stage,
    earlier: Sequence[Mapping[str, float | None]] = (),
) -> tuple[FusionModel, EpochKeeper]:
    """Train a model to its last epoch, from the start or from the last checkpoint in a directory.

    Args:
        begin: called once nothing speaks against it any more.
        seen: told how far it is.
        earlier: the rows of the training that this one repeats on more samples.

    Returns:
        The model as training left it, and what knows its epochs.
    """
    seed_all(recipe.train.seed, 0)
    model = FusionModel(config)
    if not run.last.exists():  # a run that goes on has its weights, and needs the pretrained ones no more
        if recipe.train.start is None:
            for line in differences(recipe):
                if first:
                    LOG.warning(line)
            sources = {name: model_folder(s, f"train.pretrained.{name}") for name, s in recipe.starting_points.items()}
            fill_towers(model, sources, recipe.train.inflation)
            fill_standards(model, splits.train, but=[name for name, source in sources.items() if is_own(source)])
        else:
            fill_from_run(model, recipe.train.start)
    freeze(model, recipe.train.frozen)
    model.checkpointing = recipe.train.checkpointing
    bad = BadSampleLog(splits.sizes, recipe.data.max_bad, run.bad_samples if first else None)
    averaging = Averaging(model, recipe.train.ema) if recipe.train.ema else None
    keeper = EpochKeeper(run, recipe, bad, on_epoch if first else None, averaging)
    module: FusionModule = recipe.train.view_training.module(recipe, model, labels, bad)
    module.earlier = earlier
    if recipe.train.compile:
        model.compile_layers()
    if run.last.exists():
        check_last(run.last, module.state_dict())
    begin()
    with (
        _quiet(recipe.train.devices),
        _deterministic(recipe.train.deterministic),
        _compiling(recipe.train.compile),
        open_loggers(recipe, run, recipe.train.logger if first else ()) as loggers,
    ):
        trainer = pl.Trainer(
            accelerator=choose_accelerator(recipe.train.accelerator, recipe.train.devices),
            devices=recipe.train.devices,
            strategy=_strategy(recipe.train.devices),
            precision="bf16-mixed" if recipe.train.precision == "bf16-mixed" else "32-true",
            max_epochs=recipe.train.epochs,
            accumulate_grad_batches=recipe.train.accumulate,
            gradient_clip_val=recipe.train.clip_norm or None,
            # The averages take a step in before the keeper saves it.
            callbacks=[
                *([Pace(seen, recipe.train.epochs)] if progress.is_heard() else []),
                *(c for c in (averaging, keeper, on_step and _Steps(on_step)) if c),
            ],
            logger=loggers or False,
            plugins=[AtomicCheckpointIO(), _launcher()],
            default_root_dir=run.path,
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if len(splits.val) else 0,
            log_every_n_steps=1,
            use_distributed_sampler=False,  # the sampler is one already
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, splits, ckpt_path=run.last if run.last.exists() else None, weights_only=True)
    return model, keeper


def _strategy(devices: int) -> str | DDPStrategy:
    """Batches may lack a modality, whose parameters are then unused; buffers are the same everywhere."""
    return DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if devices > 1 else "auto"


def _launcher() -> LightningEnvironment | TorchElasticEnvironment:
    """Who begins the processes: torchrun, or the first of them. Variables of schedulers, which Lightning would follow,
    say how the machine was asked for, and nothing about this program (a job of Slurm may well have several tasks)."""
    return TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()


def choose_accelerator(name: str, devices: int) -> str:
    """`cuda` or `cpu`, of what the recipe names and the machine has.

    Raises:
        TrainingError: the machine lacks it.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("train.accelerator is cuda, but torch finds no CUDA device; use auto or cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return "cpu"
    if devices > (found := torch.cuda.device_count()):
        raise TrainingError(f"train.devices is {devices}, but torch finds {found} CUDA devices; use as many or fewer")
    return "cuda"


class _Steps(pl.Callback):
    """Reports every step."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report = report

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.done, self.total = trainer.global_step, int(trainer.estimated_stepping_batches)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step > self.done:  # a step may take several batches
            self.done = trainer.global_step
            self.report(self.done, self.total)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as cuBLAS demands; read when CUDA starts
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _compiling(wanted: bool) -> AbstractContextManager[Any]:
    """Allows for as many kinds of layers as a model has: towers, the layers of fusion and the last of these, of all
    modalities and of each alone, in training and in validation. What is not compiled would not be told of."""
    return torch._dynamo.config.patch(recompile_limit=KINDS_OF_LAYERS) if wanted else nullcontext()


@contextmanager
def _quiet(devices: int) -> Iterator[None]:
    """Keeps Lightning from narrating, and lets a stopped program end as stopped programs do."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    handler, terminate = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    if devices > 1 and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Lightning has all processes end after the same step
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message)
            yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning exits the program on Ctrl-C
            raise KeyboardInterrupt from None
        if isinstance(stop, SIGTERMException):  # which Lightning would call a success
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, handler)
        if devices > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)
