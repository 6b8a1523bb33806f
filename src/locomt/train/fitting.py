"""Training a recipe into a run directory, from the start or from where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from locomt import progress, ranks
from locomt.data import label_list
from locomt.data.dealing import read_rows
from locomt.faults import telling
from locomt.files import make_directory
from locomt.lock import locked
from locomt.nn.config import FusionConfig
from locomt.nn.model import FusionModel
from locomt.train.card_facts import Facts
from locomt.train.datamodule import SplitsModule
from locomt.train.divergence import blind_loss, divergence
from locomt.train.header import header
from locomt.train.loggers import check_loggers
from locomt.train.memory import estimate, shortage
from locomt.train.model_card import write_card
from locomt.train.optim import freeze
from locomt.train.predictor import Predictor
from locomt.train.recipe import Recipe
from locomt.train.refit import refit_directory, refit_recipe
from locomt.train.run_directory import RunDirectory
from locomt.train.saved import check_weights, load_checkpoint
from locomt.train.trainer import choose_accelerator, train

LOG = logging.getLogger("locomt")


def fit(
    recipe: Recipe,
    run_dir: str | Path,
    *,
    resume: bool = False,
    on_start: Callable[[], None] | None = None,
    on_epoch: Callable[[Mapping[str, float | None]], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_refit: Callable[[Mapping[str, float | None], int], object] | None = None,
) -> dict[str, Any]:
    """Train a recipe.

    The seeds of torch's, numpy's and Python's own generators are set along the way. With `train.devices` above 1 the
    program is started once more for each further one (or all of them by torchrun), and each gets to this call: the
    first one writes the run, all return its summary.

    Args:
        recipe: what to train.
        run_dir: where the run goes: `config.yaml`, `labels.json`, `metrics.csv`, `checkpoints/`, at the end
            `summary.json` and `model/`.
        resume: go on after the last checkpoint of the run in `run_dir`, amid an epoch too; the weights come out as if
            it had never been stopped. A run that has finished is left as it is; where there is none, one is begun.
        on_start: called once nothing speaks against training any more, before its first step.
        on_epoch: told the row of every epoch, as `metrics.csv` has it; in the first of several processes alone.
        on_step: told the steps done and the steps in all, in every process.
        on_refit: told the rows of the second training of `train.refit`, which have no validation, and how many epochs
            it takes; in the first process alone.

    Returns:
        The row of the epoch that was exported to `model/` (the best, or the last where there is no validation
        split), `skipped` (samples that could not be read so far) in it, and the name `monitor` of what it is judged by:
        `val_loss` where what the recipe monitors is undefined in every epoch. Where samples went without a modality
        because their files lack it and the recipe says so, `missing` maps it to their number. Where
        `train.patience` ended training before `train.epochs`, `stopped` is the last epoch. Where training ended with a
        loss beyond all reason, `diverged` says so in a line. With `train.refit`, which exports the model of a second
        training, the row is still that of the first, and `refit` is how many epochs the second had.

    Raises:
        ValueError: the recipe, the manifest or the run directory cannot serve, another process writes in the
            directory, the processes do not fit the recipe, too many samples are bad, or the loss is no number any more.
        MachineError: the machine lacks disk, memory or file descriptors, or killed a worker; the run can be resumed.
            Where memory is likely to run out, that is logged before training starts.
        KeyboardInterrupt: it was interrupted; the run can be resumed. (SIGTERM: SystemExit with code 143.)
    """
    ranks.check_launch(recipe.train.devices)
    check_loggers(recipe.train.logger)
    run, labels = RunDirectory(Path(run_dir)), label_list(recipe.data)
    config = recipe.fusion_config(labels)
    kept = "what was done is kept: resuming goes on after the last checkpoint"
    first = recipe.train.devices == 1 or ranks.is_first()
    writes = first and not (resume and run.finished)
    with (
        telling(run.path, need=lambda: str(estimate(recipe, config)), then=kept),
        locked(run.path, run.last.parent.name) if writes else nullcontext(),
        progress.stage("training", "steps") as seen,
    ):
        return _fit(recipe, run, first, labels, config, resume, on_start, on_epoch, on_step, on_refit, seen)


def _fit(
    recipe: Recipe,
    run: RunDirectory,
    first: bool,
    labels: list[str],
    config: FusionConfig,
    resume: bool,
    on_start: Callable[[], None] | None,
    on_epoch: Callable[[Mapping[str, float | None]], None] | None,
    on_step: Callable[[int, int], None] | None,
    on_refit: Callable[[Mapping[str, float | None], int], object] | None,
    seen: progress.Stage,
) -> dict[str, Any]:
    """What `fit` does in a run directory of its own."""
    if resume and run.holds_run:
        if first:
            run.resume(recipe, labels, _splits(recipe))
        if run.finished:
            return run.read_summary()
    accelerator = choose_accelerator(recipe.train.accelerator, recipe.train.devices)
    splits = SplitsModule(recipe, labels)
    need = estimate(recipe, config, _trained(recipe, config))
    if first and (line := shortage(need, accelerator, recipe.train.devices)):
        LOG.warning(line)

    def begin() -> None:
        if first and not (resume and run.holds_run):
            run.begin(recipe, labels, _splits(recipe))
        if progress.is_heard():
            for line in header(recipe, config, len(labels), accelerator):
                seen.note(line)
        if on_start:
            on_start()

    model, keeper = train(recipe, run, first, splits, labels, config, begin, on_epoch, on_step, seen)
    assert keeper.best is not None
    summary: dict[str, Any] = {"monitor": keeper.judge, **keeper.best}
    if keeper.bad.missing:
        summary["missing"] = keeper.bad.missing
    if (last := len(keeper.rows)) < recipe.train.epochs:
        summary["stopped"] = last
    kept, ends = run, [keeper.best, keeper.rows[-1]]
    if recipe.train.refit:
        again = refit_recipe(recipe, int(keeper.best["epoch"] or 0))
        summary["refit"] = again.train.epochs
        kept = refit_directory(run)
        both = SplitsModule(again, labels, together=True)

        def begin_again() -> None:
            if first:
                make_directory(kept.path)

        def tell_again(row: Mapping[str, float | None]) -> None:
            if on_refit:
                on_refit(row, again.train.epochs)

        model, later = train(
            again,
            kept,
            first,
            both,
            labels,
            config,
            begin_again,
            tell_again,
            on_step,
            seen,
            keeper.rows,
        )
        ends.append(later.rows[-1])
    blind = {"train": blind_loss(splits.train, len(labels)), "val": blind_loss(splits.val, len(labels))}
    if line := divergence(ends, blind, recipe.train.learning_rate):
        summary["diverged"] = line
    if not first:
        return summary
    best = load_checkpoint(run.best, weights=True)
    states = (best if kept is run else load_checkpoint(kept.best, weights=True))["state_dict"].items()
    weights = {name.removeprefix("model."): value for name, value in states if name.startswith("model.")}
    check_weights(kept.best, weights, model.state_dict())
    model.cpu().load_state_dict(weights)
    model.set_answer(best.get("shares", {}), apart=best.get("apart", False))  # which older checkpoints do not have
    predictor = Predictor(run.model, model, recipe.data, tuple(labels), recipe.train.batch_size)
    facts = Facts.of_training(recipe, summary, len(splits.val))

    def save(folder: Path) -> None:
        predictor.save(folder)
        write_card(run, folder, predictor, recipe, facts)

    run.export(summary, save)
    return summary


def _splits(recipe: Recipe) -> dict[str, str] | None:
    """The split of each sample, where the recipe says it and not the manifest."""
    return None if recipe.data.split is None else {row.id: row.split for row in read_rows(recipe.data)}


def _trained(recipe: Recipe, config: FusionConfig) -> int | None:
    """How many numbers are trained where parts are frozen, told from a model without memory; None: all of them."""
    if not recipe.train.frozen:
        return None
    with torch.device("meta"):
        model = FusionModel(config)
    freeze(model, recipe.train.frozen)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
