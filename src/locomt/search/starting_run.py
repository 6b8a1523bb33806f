"""The finished run that a search starts from: its recipe, and whether its weights fit."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from locomt.nn.config import FusionConfig
from locomt.search.budget import SearchError
from locomt.train.evaluation import Run
from locomt.train.overrides import words_of
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe
from locomt.train.run_directory import RunDirectory, flatten

FREE = (
    *("preset", "fusion", "views", "strategy", "cross", "views_seed", "bottlenecks"),
    *("head_init", "dropout", "token_dropout", "drop_path"),
)
"""Fields in which the models may differ: views have no weights of their own, the others matter in training only."""


def load_fitting(path: Path, config: FusionConfig) -> Run:
    """Load a finished run whose weights serve any table of a model with this configuration.

    Raises:
        SearchError: its model has another size or reads other data.
        RunError: there is no such run, or it is not finished.
    """
    run = Run.load(path)
    run.model.set_answer(
        {}
    )  # every training finds it for itself, and the views of a model that answers apart say little
    had, wanted = flatten(run.model.config.to_dict()), flatten(config.to_dict())
    for name in sorted(had.keys() | wanted.keys()):
        if name not in FREE and had.get(name) != wanted.get(name):
            raise SearchError(
                f"{path}: the model has {name} {had.get(name)!r}, the recipe asks for {wanted.get(name)!r}; "
                "search with the recipe that it was trained with, or leave --from out"
            )
    return run


def is_dense(path: Path) -> bool:
    """Whether a directory holds a run of Multiall."""
    config = RunDirectory(path).config
    return config.is_file() and load_recipe(config).model.fusion == "multiall"


def recipe_of(path: Path, overrides: str | Sequence[str] = ()) -> Recipe:
    """The recipe of a search that starts from this run, if no other recipe is given.

    The recipe of an elastic run is for its own training, which is longer and starts from dense weights. So tables are
    trained with the recipe of the Multiall run from which the elastic run started.

    Args:
        path: the run.
        overrides: as for `load_recipe`.

    Raises:
        SearchError: the run is elastic, and the run that it started from is gone or not of Multiall.
    """
    config = RunDirectory(path).config
    train = load_recipe(config).train
    if train.views != "elastic" or train.start is None:
        return load_recipe(config, overrides)
    dense = Path(train.start)
    if not is_dense(dense):
        raise SearchError(
            f"{path}: expected the run of Multiall that it began with in {dense}, for its recipe, but there is none; "
            f"give the recipe as well: locomt search CONFIG --from {shlex.quote(str(path))}"
        )
    return load_recipe(RunDirectory(dense).config, ["--model.fusion=locomt", *words_of(overrides)])
