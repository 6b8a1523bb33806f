"""What a search is asked: the recipe, the budget, the method and its options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from locomt.data import read_manifest
from locomt.data.splits import others_there
from locomt.search.budget import Budget, SearchError
from locomt.search.methods import METHODS
from locomt.train.recipe import Recipe

DEFAULTS: Mapping[str, Any] = MappingProxyType({"seeds": 1, "tables": 8, "one_way": False, "finetune": 0.05})
TABLES: Mapping[str, int] = MappingProxyType({"elastic": 300})
"""How many tables a method tries that does not train each, where it is not said."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to search, and how.

    Attributes:
        recipe: what all tables are trained with; its own table takes no part.
        budget: that no table exceeds.
        method: one of `METHODS`, which says the options that it takes; those left out, None, are those of `DEFAULTS`.
        tables: how many tables to try.
        seeds: runs of every table, with `train.seed` and those that follow it; where a table comes from a model that is
            trained for it, as many models, a table each.
        one_way: whether heads may look one way (`a>b`).
        epochs: of training the elastic model from a dense one; `elastic.LENGTH` times the recipe's where left out.
        finetune: training of a model whose weights are there, as a share of the recipe's.
        source: a finished run to begin with, of Multiall, instead of one trained for it; `elastic` takes its own too.
        storage: URL of an Optuna storage, which many machines may share; a file in the search's directory if left out.
        final: training runs for a choice among the best tables, see `locomt.search.final`; none where left out.
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
    """Training samples that an epoch of the recipe takes."""

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
        data = self.recipe.data
        splits = Counter(row.split for row in read_manifest(data.manifest, data.columns))
        if not splits[data.val_split]:
            raise SearchError(
                f"{data.manifest}: no row has split {data.val_split!r} (data.val_split), by which to choose; "
                + others_there(data.val_split, splits)
            )
        samples = self.recipe.train.epoch_samples or splits[data.train_split]
        object.__setattr__(self, "epoch_samples", samples)

    def option(self, name: str) -> Any:
        """The value of an option, its default where it was left out."""
        value = getattr(self, name)
        default = TABLES.get(self.method) if name == "tables" else None
        return value if value is not None else default or DEFAULTS.get(name)

    @property
    def all_seeds(self) -> range:
        first = self.recipe.train.seed
        return range(first, first + self.option("seeds"))
