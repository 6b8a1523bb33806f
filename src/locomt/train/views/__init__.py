"""Views that change while a model is trained: what each value of `train.views` means for a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ViewTraining:
    """How training treats the view table. What is called is given the run's `TrainConfig`.

    Attributes:
        home: the Lightning module that trains so, `FusionModule` or a subclass, as `module:class`. It is imported when
            training starts: a recipe is read without Lightning.
        changes: whether other tables than the model's own are trained.
        passes: how many tables a step runs the model with.
        searching_epochs: the first so many epochs, after which the table that they found is fixed.
        check: refuses settings that cannot serve by an error of one line.
    """

    home: str
    changes: bool = True
    passes: Callable[[Any], int] = lambda train: 1
    searching_epochs: Callable[[Any], int] = lambda train: 0
    check: Callable[[Any], None] = lambda train: None

    def module(self, *arguments: Any) -> Any:
        """The Lightning module of a run, of what `FusionModule` takes."""
        name, _, kind = self.home.partition(":")
        return getattr(import_module(name), kind)(*arguments)


VIEWS = {
    "fixed": ViewTraining(home="locomt.train.module:FusionModule", changes=False),
    "elastic": ViewTraining(
        home="locomt.train.views.elastic:ElasticModule",
        passes=lambda train: len(train.elastic_tables),
    ),
    "learned": ViewTraining(
        home="locomt.train.views.learned:LearningModule",
        searching_epochs=lambda train: train.learn_views.epochs(train.epochs),
        check=lambda train: train.learn_views.check(train.epochs),
    ),
}
"""The choices of `train.views`."""
