"""The finished run that a search begins with: whether its weights are those of the models searched."""

from __future__ import annotations

from pathlib import Path

from locomt.nn.config import FusionConfig
from locomt.search.budget import SearchError
from locomt.train.files import flatten
from locomt.train.run import Run

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
    had, wanted = flatten(run.model.config.to_dict()), flatten(config.to_dict())
    for name in sorted(had.keys() | wanted.keys()):
        if name not in FREE and had.get(name) != wanted.get(name):
            raise SearchError(
                f"{path}: the model has {name} {had.get(name)!r}, the recipe asks for {wanted.get(name)!r}; "
                "search with the recipe that it was trained with, or leave --from out"
            )
    return run
