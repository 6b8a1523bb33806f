"""The finished run that a search begins with: the recipe it was made for, and whether its weights fit."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
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
"""What models may differ in: views have no weights of their own, and the others are for training alone."""


def load_fitting(path: Path, config: FusionConfig) -> Run:
    """A finished run whose weights any table of a model of this size runs from.

    Raises:
        SearchError: its model has another size, or reads other data.
        RunError: there is no such run, or it has not finished.
    """
    run = Run.load(path)
    found = replace(run.model.config, shares={})  # which every training finds for itself
    had, wanted = flatten(found.to_dict()), flatten(config.to_dict())
    for name in sorted(had.keys() | wanted.keys()):
        if name not in FREE and had.get(name) != wanted.get(name):
            raise SearchError(
                f"{path}: the model has {name} {had.get(name)!r}, the recipe asks for {wanted.get(name)!r}; "
                "search with the recipe that it was trained with, or leave --from out"
            )
    return run


def is_dense(path: Path) -> bool:
    """Whether it is a run of Multiall."""
    config = RunDirectory(path).config
    return config.is_file() and load_recipe(config).model.fusion == "multiall"


def recipe_of(path: Path, overrides: str | Sequence[str] = ()) -> Recipe:
    """The recipe that a search from this run is about, where no other one is given.

    That of an elastic run is for its own training, longer and from dense weights. Tables are trained with the recipe of
    the Multiall run that it began with.

    Args:
        path: the run.
        overrides: as for `load_recipe`.

    Raises:
        SearchError: the run is elastic, and what it began with is gone or no run of Multiall.
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
