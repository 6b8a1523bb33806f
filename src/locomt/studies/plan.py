"""The settings of a study: its size, data, output directory, and what trains its models."""

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
    """A study cannot be run."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings that every study takes.

    Attributes:
        out: the output directory; gets `data/`, `runs/` and `results.json`.
        full: the size of the published figures; otherwise a size that a two-core machine finishes in minutes.
        data: the folder of real data sets; None if there is none.
        seeds: the number of seeds, counted from that of the recipe; None for the default, see `seeds_of`.
        data_sets: the data sets to use instead of the study's own.
        overrides: fields to set in their recipes, as on a command line: `["--train.epochs", "1"]`.
        command: the command line that runs the study, shown on its page.
        runner: trains the models.
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
        """The seeds to train with: `seeds` of them, by default 5 in full and 2 in small."""
        count = self.seeds or (5 if self.full else 2)
        return range(recipe.train.seed, recipe.train.seed + count)

    def chosen(self, own: Sequence[str]) -> tuple[DataSet, ...]:
        """The data sets to use: `data_sets`, else those of the study's `own` whose data are available.

        Raises:
            StudyError: none of them is available.
        """
        if self.data_sets:
            return tuple(DATA_SETS[name] for name in self.data_sets)
        left_out = self.left_out(own)
        if len(left_out) == len(own):
            raise StudyError(f"data sets {', '.join(own)} need real data: --data DIR says where they are")
        return tuple(DATA_SETS[name] for name in own if name not in left_out)

    def left_out(self, own: Sequence[str]) -> list[str]:
        """Those of the study's `own` data sets that need real data, if no folder of real data is given."""
        if self.data_sets or self.data is not None:
            return []
        return [name for name in own if DATA_SETS[name].needs is not None]

    def recipe(self, data_set: DataSet) -> Recipe:
        """Make a data set under `out`, unless it is there, and load its recipe."""
        folder = self.out / "data" / data_set.name
        data_set.prepare(folder, self.full, self.data)
        return load_recipe(folder / "recipe.yaml", self.overrides)

    @property
    def runs(self) -> Path:
        return self.out / "runs"
