"""Where the numbers of a run go besides `metrics.csv`: `train.logger`, by Lightning's loggers."""

from __future__ import annotations

import csv
import importlib.util
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from locomt.files import make_directory
from locomt.train.config import RecipeError
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory, flatten, write_text
from locomt.train.saved import one_line

PACKAGES = {"wandb": "locomt[wandb]", "mlflow": "locomt[mlflow]"}
"""Loggers whose package of the same name is not among what locomt needs -> what pip installs it by."""
PROJECT = "locomt"
"""What wandb's project and mlflow's experiment are called unless the environment says otherwise."""
MLFLOW_URI = "MLFLOW_TRACKING_URI"


def check_loggers(names: Sequence[str]) -> None:
    """Raises `RecipeError` where the package of a logger is missing."""
    for name in names:
        # A folder `wandb/`, which wandb leaves behind, can be found too, as a package of no file.
        if name in PACKAGES and ((found := importlib.util.find_spec(name)) is None or found.origin is None):
            raise RecipeError(
                f"train.logger {name} needs the package {name}: pip install '{PACKAGES[name]}', or leave it out"
            )


@contextmanager
def open_loggers(recipe: Recipe, run: RunDirectory, names: Sequence[str]) -> Iterator[list[Logger]]:
    """The loggers of a run, by their names: those of `train.logger` in the process that writes it, none in others.

    A run that is resumed goes on in the same one: TensorBoard and csv take back what came after its checkpoint; wandb
    and mlflow are told the id, which `loggers.json` keeps. The recipe is told once, as hyperparameters.

    What comes from outside is obeyed: WANDB_MODE, WANDB_PROJECT and whatever else wandb reads; MLFLOW_TRACKING_URI
    (without it a database in the run's folder) and MLFLOW_EXPERIMENT_NAME.
    """
    known = _read_ids(run)
    step = None
    if names and run.last.exists():
        step = int(torch.load(run.last, map_location="cpu", weights_only=True)["global_step"])
    loggers: list[Logger] = []
    place = os.environ.get(MLFLOW_URI)
    try:
        for name in names:
            logger = MAKERS[name](run, known.get(name), step)
            if name not in known or name != "mlflow":  # which refuses to hear of a field again that has changed
                logger.log_hyperparams(recipe.to_dict())
            if isinstance(logger, TensorBoardLogger) and step is None:
                _show_recipe(logger, recipe)
            if name in PACKAGES and name not in known:
                known[name] = str(logger.version)
                write_text(run.loggers, json.dumps(known, indent=2) + "\n")
            loggers.append(logger)
        yield loggers
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if package not in PACKAGES:
            raise
        raise RecipeError(f"train.logger {package}: {one_line(error)}") from None
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()  # else the next run of this process would go into the same one
        if place is None:
            os.environ.pop(MLFLOW_URI, None)  # which mlflow sets, and the next run would take for the user's


def _read_ids(run: RunDirectory) -> dict[str, str]:
    """Logger -> its id of this run; nothing where what was written is gone or damaged: a new one is begun."""
    try:
        known = json.loads(run.loggers.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in known.items()} if isinstance(known, dict) else {}


def _tensorboard(run: RunDirectory, known: str | None, step: int | None) -> Logger:
    return TensorBoardLogger(run.path, name="", version="tensorboard", purge_step=step, default_hp_metric=False)


def _show_recipe(logger: TensorBoardLogger, recipe: Recipe) -> None:
    """Fill TensorBoard's table of hyperparameters; Lightning writes them to a file alone where it has no metric."""
    from torch.utils.tensorboard.summary import hparams

    fields = flatten(recipe.to_dict()).items()
    values = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in fields}
    for summary in hparams(values, {f"val_{recipe.monitor}": 0.0}):
        logger.experiment._get_file_writer().add_summary(summary)


def _csv(run: RunDirectory, known: str | None, step: int | None) -> Logger:
    logger = CSVLogger(run.path, name="", version="csv")
    path = run.path / "csv" / "metrics.csv"
    rows: list[Mapping[str, str]] = []
    if step is not None and path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if float(row["step"] or 0) < step]
    # Lightning begins the file anew; what it is to begin with waits in the list of what is not yet written.
    logger.experiment.metrics = list(rows)
    return logger


def _wandb(run: RunDirectory, known: str | None, step: int | None) -> Logger:
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    return WandbLogger(name=str(run.path), save_dir=run.path, project=project, id=known)


def _mlflow(run: RunDirectory, known: str | None, step: int | None) -> Logger:
    for source in ("mlflow", "lightning.pytorch.loggers.mlflow"):  # each run has a database of its own, as it should
        logging.getLogger(source).setLevel(logging.ERROR)
    folder, place, artifacts = run.path / "mlflow", os.environ.get(MLFLOW_URI), None
    if not place:
        make_directory(folder)
        place = f"sqlite:///{os.path.abspath(folder / 'mlflow.db')}"  # mlflow writes folders of files no more
        artifacts = folder.absolute().as_uri()
    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
        run_name=str(run.path),
        tracking_uri=place,
        artifact_location=artifacts,
        run_id=known,
    )


MAKERS: Mapping[str, Callable[[RunDirectory, str | None, int | None], Logger]] = {
    "tensorboard": _tensorboard,
    "csv": _csv,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
"""Name in `train.logger` -> what makes it, of the run, its id in an earlier process and the step that it goes on at."""
