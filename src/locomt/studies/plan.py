"""The settings of a study: how large it is, its data, its directory, and what does its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from locomt.hints import did_you_mean
from locomt.studies.datasets import DATA_SETS, DataSet
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe
from locomt.train.runs import Runner


class StudyError(ValueError):
    """A study that cannot be made."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every study is given.

    Attributes:
        out: gets `data/`, `runs/` and `results.json`.
        full: at the size of the published figures, or as small as a two-core machine does in minutes.
        data: the folder of real data sets; None where there is none.
        seeds: how many runs of everything; the first is that of the recipe.
        data_sets: to look at, instead of the study's own.
        overrides: fields of their recipes, as on a command line: `["--train.epochs", "1"]`.
        command: the command line that made it, for its page.
        runner: does the runs.
    """

    out: Path
    full: bool = False
    data: Path | None = None
    seeds: int | None = None
    data_sets: tuple[str, ...] = ()
    overrides: str | Sequence[str] = ()
    command: str = ""
    runner: Runner = field(default_factory=Runner)

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise StudyError(f"seeds: expected 1 or more, got {self.seeds}")
        for name in self.data_sets:
            if name not in DATA_SETS:
                hint = did_you_mean(name, DATA_SETS, f"there are {', '.join(DATA_SETS)}")
                raise StudyError(f"expected a data set, got {name!r}; {hint}")

    def seeds_of(self, recipe: Recipe) -> range:
        """The seeds of the runs: 5 in full, 2 in small, unless it was said otherwise."""
        count = self.seeds or (5 if self.full else 2)
        return range(recipe.train.seed, recipe.train.seed + count)

    def chosen(self, own: Sequence[str]) -> tuple[DataSet, ...]:
        """The data sets to look at: those asked for, else the study's `own` that can be had here.

        Raises:
            StudyError: none of them can.
        """
        if self.data_sets:
            return tuple(DATA_SETS[name] for name in self.data_sets)
        left_out = self.left_out(own)
        if len(left_out) == len(own):
            raise StudyError(f"data sets {', '.join(own)} need real data: --data DIR says where they are")
        return tuple(DATA_SETS[name] for name in own if name not in left_out)

    def left_out(self, own: Sequence[str]) -> list[str]:
        """The study's `own` data sets that need real data, where it was not said where these are."""
        if self.data_sets or self.data is not None:
            return []
        return [name for name in own if DATA_SETS[name].needs is not None]

    def recipe(self, data_set: DataSet) -> Recipe:
        """The recipe of a data set, its data made or found under `out`."""
        folder = self.out / "data" / data_set.name
        data_set.prepare(folder, self.full, self.data)
        return load_recipe(folder / "recipe.yaml", self.overrides)

    @property
    def runs(self) -> Path:
        return self.out / "runs"
