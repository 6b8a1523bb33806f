"""What to search, and how: the recipe, the budget, the method and its options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from locomt.data.dealing import read_rows
from locomt.data.splits import others_there
from locomt.search.budget import Budget, SearchError
from locomt.search.methods import METHODS
from locomt.train.recipe import Recipe

DEFAULTS: Mapping[str, Any] = MappingProxyType({"seeds": 1, "tables": 8, "one_way": False, "finetune": 0.05})
TABLES: Mapping[str, int] = MappingProxyType({"elastic": 300})
"""Method -> its default of `tables`, for a method that does not train every table."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to search, and how.

    Attributes:
        recipe: what all tables are trained with. Its own table takes no part.
        budget: the most that a table may cost.
        method: one of `METHODS`, which lists the options of each. An option that is None has its value in `DEFAULTS`.
        tables: how many tables to try.
        seeds: how many runs each table gets, with `train.seed` and the seeds that follow it. A method that makes a
            table from a trained model trains as many models, each for a table of its own.
        one_way: whether heads may look one way (`a>b`).
        epochs: epochs in which the elastic model is trained from a dense one; by default `elastic.LENGTH` times the
            recipe's.
        finetune: how long a model is trained from existing weights, as a share of the recipe's training.
        source: a finished run of Multiall to start from, by default one that is trained for this. `elastic` takes a
            finished elastic run as well.
        storage: URL of an Optuna storage, which many machines may share; by default a file in the search's directory.
        final: training runs for a final among the best tables, see `locomt.search.final`; by default none.
    """

    recipe: Recipe
    budget: Budget
    method: str = "strategies"
    tables: int | None = None
    seeds: int | None = None
    one_way: bool | None = None
    epochs: int | None = None
    finetune: float | None = None
    source: Path | None = None
    storage: str | None = None
    final: int | None = None
    epoch_samples: int = field(init=False)
    """The number of training samples in an epoch of the recipe."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SearchError(f"method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        for name in dict.fromkeys(option for options in METHODS.values() for option in options):
            if getattr(self, name) is not None and name not in METHODS[self.method]:
                takers = ", ".join(method for method, options in METHODS.items() if name in options)
                option = "--from" if name == "source" else f"--{name.replace('_', '-')}"
                raise SearchError(f"method {self.method} takes no option {option}; it is for {takers}")
        for name in ("tables", "seeds", "epochs"):
            value = self.option(name)
            if value is not None and value < 1:
                raise SearchError(f"{name}: expected 1 or more, got {value}")
        if self.final is not None and self.final < 2:
            raise SearchError(f"final: expected 2 training runs or more, to choose among tables, got {self.final}")
        if not 0 < self.option("finetune") <= 1:
            raise SearchError(f"finetune: expected a share of the recipe's training in (0, 1], got {self.finetune}")
        if self.recipe.train.refit:
            raise SearchError(
                "train.refit: tables are told apart by validation; set it to false, and refit what is found"
            )
        data = self.recipe.data
        splits = Counter(row.split for row in read_rows(data))
        if not splits[data.val_split]:
            raise SearchError(
                f"{data.manifest}: no row has split {data.val_split!r} (data.val_split), by which to choose; "
                + others_there(data.val_split, splits)
            )
        samples = self.recipe.train.epoch_samples or splits[data.train_split]
        object.__setattr__(self, "epoch_samples", samples)

    def option(self, name: str) -> Any:
        """The value of an option, or its default."""
        value = getattr(self, name)
        default = TABLES.get(self.method) if name == "tables" else None
        return value if value is not None else default or DEFAULTS.get(name)

    @property
    def all_seeds(self) -> range:
        first = self.recipe.train.seed
        return range(first, first + self.option("seeds"))
