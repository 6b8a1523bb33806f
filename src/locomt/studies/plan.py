"""How a study is to be made: how large, of what data, where, and with how many runs at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from locomt.hints import did_you_mean
from locomt.studies.datasets import TASKS, Task
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe
from locomt.train.runs import Job, Outcome, do_all


class StudyError(ValueError):
    """A study that cannot be made: says what was expected and what came."""


def _nothing(*_: object) -> None:
    """Tells nobody."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every study is given.

    Attributes:
        out: gets `data/`, `runs/` and `results.json`.
        full: at the size of the published figures, or as small as a two-core machine does in minutes.
        data: the folder of real data sets; None where there is none.
        seeds: how many runs of everything; the first is that of the recipe.
        tasks: to look at, instead of the study's own.
        overrides: fields of the tasks' recipes, as on a command line: `["--train.epochs", "1"]`.
        command: the command line that made it, for its page.
        at_once: runs done at a time, each in a process of its own.
        threads: of each.
        on_plan, on_run: told how many runs are about to be had, and of every run that was had.
    """

    out: Path
    full: bool = False
    data: Path | None = None
    seeds: int | None = None
    tasks: tuple[str, ...] = ()
    overrides: str | Sequence[str] = ()
    command: str = ""
    at_once: int = 1
    threads: int = 1
    on_plan: Callable[[int], object] = _nothing
    on_run: Callable[[Job, Outcome], object] = field(default=_nothing)

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise StudyError(f"seeds: expected 1 or more, got {self.seeds}")
        for name in self.tasks:
            if name not in TASKS:
                hint = did_you_mean(name, TASKS, f"there are {', '.join(TASKS)}")
                raise StudyError(f"expected a task, got {name!r}; {hint}")

    def seeds_of(self, recipe: Recipe) -> range:
        """The seeds of the runs: 5 in full, 2 in small, unless it was said otherwise."""
        count = self.seeds or (5 if self.full else 2)
        return range(recipe.train.seed, recipe.train.seed + count)

    def chosen(self, own: Sequence[str]) -> tuple[Task, ...]:
        """The tasks to look at: those asked for, else the study's `own` that can be had here.

        Raises:
            StudyError: none of them can.
        """
        if self.tasks:
            return tuple(TASKS[name] for name in self.tasks)
        left_out = self.left_out(own)
        if len(left_out) == len(own):
            raise StudyError(f"tasks {', '.join(own)} need real data: --data DIR says where they are")
        return tuple(TASKS[name] for name in own if name not in left_out)

    def left_out(self, own: Sequence[str]) -> list[str]:
        """The study's `own` tasks that need real data, where it was not said where these are."""
        if self.tasks or self.data is not None:
            return []
        return [name for name in own if TASKS[name].needs is not None]

    def recipe(self, task: Task) -> Recipe:
        """A task's recipe, its data made or found under `out`."""
        folder = self.out / "data" / task.name
        task.prepare(folder, self.full, self.data)
        return load_recipe(folder / "recipe.yaml", self.overrides)

    @property
    def runs(self) -> Path:
        return self.out / "runs"

    def have(self, jobs: Sequence[Job], on_done: Callable[[Job, Outcome], object] = _nothing) -> list[Outcome]:
        """The outcomes of runs, in their order; what was finished before is not done again."""

        def tell(job: Job, outcome: Outcome) -> None:
            on_done(job, outcome)
            self.on_run(job, outcome)

        self.on_plan(len(jobs))
        return do_all(jobs, at_once=self.at_once, threads=self.threads, on_done=tell)
