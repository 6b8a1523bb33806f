"""How a method does its work, and tells what it finds."""

from __future__ import annotations

import hashlib
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from locomt.search.budget import SearchError, Space
from locomt.search.question import Search
from locomt.search.results import Entry
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, Outcome
from locomt.views import ViewTable

RATE = 0.3
"""Of the recipe's peak learning rate, for a model that is trained already."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A table to train and score.

    Attributes:
        table: the views.
        names: what it is called; several where they turn out the same.
        recipe: with the table in it, and what else is not as in the search's recipe.
        facts: what is told of it in its entry besides.
    """

    table: ViewTable
    names: tuple[str, ...]
    recipe: Recipe
    facts: Mapping[str, Any] = field(default_factory=dict)

    def job(self, root: Path, seed: int) -> Job:
        """The run with one seed, in a directory that any search of the same recipe shares."""
        train = self.recipe.train
        what = str(self.table)
        if train.start:  # by its place beside these runs, with which it may be moved
            place = os.path.relpath(train.start, root)
            what += f"\n{train.epochs} epochs of {train.epoch_samples or 'all'} samples from {place}"
        name = hashlib.sha256(what.encode()).hexdigest()[:12]
        return Job(
            label=f"{self.names[0]} seed {seed}",
            recipe=replace(self.recipe, train=replace(train, seed=seed)),
            directory=root / name / f"seed-{seed}",
            test=False,  # the test split has no part in a search
        )


def with_table(recipe: Recipe, table: ViewTable) -> Recipe:
    """The recipe for a LoCoMT of this table."""
    return recipe.fused("locomt", str(table))


def dense_job(recipe: Recipe, seed: int, root: Path) -> Job:
    """The training of Multiall."""
    dense = recipe.fused("multiall")
    return Job(
        label=f"multiall seed {seed}",
        recipe=replace(dense, train=replace(dense.train, seed=seed)),
        directory=root / "multiall" / f"seed-{seed}",
        test=False,
    )


def named(tables: Mapping[str, ViewTable], recipe: Recipe) -> list[Candidate]:
    """The tables as candidates; those of several names once."""
    names: dict[ViewTable, list[str]] = {}
    for name, table in tables.items():
        names.setdefault(table, []).append(name)
    return [Candidate(table=table, names=tuple(own), recipe=with_table(recipe, table)) for table, own in names.items()]


class Work:
    """What a method is given: the question, runs to be had, and somebody who takes in what it finds.

    Attributes:
        wanted: the question.
        space: of the tables.
        limit: what a table may cost, as `space.cost` says it.
        out: the search's directory; `runs` in it is where runs go.
        at_once: runs that are done at a time.
        known: tables that earlier searches of the recipe scored in this directory.
        before: training runs that were needed besides those of tables, in runs of the recipe.
    """

    def __init__(
        self,
        wanted: Search,
        space: Space,
        limit: int,
        out: Path,
        do: Callable[[Sequence[Job], Callable[[Job, Outcome], object]], list[Outcome]],
        on_entry: Callable[[Candidate, Entry], object],
        at_once: int = 1,
        known: Sequence[Entry] = (),
    ) -> None:
        self.wanted, self.space, self.limit, self.out, self.at_once = wanted, space, limit, out, at_once
        self.known = known
        self.before = 0.0
        self._do, self._on_entry = do, on_entry

    @property
    def recipe(self) -> Recipe:
        return self.wanted.recipe

    @property
    def runs(self) -> Path:
        return self.out / "runs"

    def in_runs(self, samples: float) -> float:
        """What training on so many samples costs, in runs of the recipe."""
        return samples / (self.recipe.train.epochs * self.wanted.epoch_samples)

    def tuned(self, table: ViewTable, start: Path) -> Recipe:
        """The recipe for a short training of this table from the weights of a finished run.

        It has the share `finetune` of the recipe's steps: in whole epochs, or in a shorter one where one is too long.
        """
        recipe, train = with_table(self.recipe, table), self.recipe.train
        epochs = self.wanted.option("finetune") * train.epochs
        short, whole = epochs < 1, max(1, round(epochs))
        train = replace(
            train,
            start=str(start.absolute()),
            pretrained={},
            epochs=whole,
            epoch_samples=max(1, round(epochs * self.wanted.epoch_samples)) if short else train.epoch_samples,
            learning_rate=RATE * train.learning_rate,
            warmup_epochs=min(train.warmup_epochs, whole / 10),
        )
        return replace(recipe, train=train)

    def dense(self, seeds: Iterable[int]) -> list[Path]:
        """Runs of Multiall to begin with, one a seed: trained, or found done."""
        jobs = [dense_job(self.recipe, seed, self.runs) for seed in seeds]
        self.do(jobs)
        self.before += len(jobs)
        return [job.directory for job in jobs]

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Runs that are no table's, such as one to start from. What they cost is to be added to `before`."""
        return self._do(jobs, lambda job, outcome: None)

    def train(self, candidates: Iterable[Candidate], seeds: Sequence[int] | None = None) -> list[Entry]:
        """Train candidates with every seed, or find it done, and tell of each one as soon as it has all its scores.

        Args:
            candidates: the tables.
            seeds: those of the search where left out.
        """
        seeds = self.wanted.all_seeds if seeds is None else seeds
        jobs = [(c, [c.job(self.runs, seed) for seed in seeds]) for c in candidates]
        done: dict[Path, Outcome] = {}
        entries: dict[int, Entry] = {}

        def keep(job: Job, outcome: Outcome) -> None:
            done[job.directory] = outcome
            for place, (candidate, own) in enumerate(jobs):
                if place not in entries and all(run.directory in done for run in own):
                    scores = [self.score(run, done[run.directory]) for run in own]
                    train = candidate.recipe.train
                    cost = self.in_runs(len(own) * train.epochs * (train.epoch_samples or self.wanted.epoch_samples))
                    runs = [run.directory for run in own]
                    entries[place] = self.tell(candidate, scores, seeds=seeds, training_runs=cost, runs=runs)

        self._do([job for _, own in jobs for job in own], keep)
        return [entries[place] for place in range(len(jobs))]

    def score(self, job: Job, outcome: Outcome) -> float:
        """The validation score of a run.

        Raises:
            SearchError: it is undefined, so that nothing can be chosen by it.
        """
        name = f"val_{self.recipe.monitor}"
        score = outcome.summary.get(name)
        if score is None:
            raise SearchError(
                f"{job.directory}: {name} is undefined on split {self.recipe.data.val_split!r}, so that "
                "nothing can be chosen by it; set train.monitor to another metric"
            )
        return float(score)

    def tell(
        self,
        candidate: Candidate,
        scores: Sequence[float],
        *,
        training_runs: float,
        runs: Sequence[Path],
        seeds: Sequence[int] | None = None,
    ) -> Entry:
        """Put down what a table came to, a score for each seed: those of the search where they are left out."""
        assert self.space.cost(candidate.table) <= self.limit, f"{candidate.names[0]} is above the budget"
        entry = {
            "views": str(candidate.table),
            "names": list(candidate.names),
            **self.space.figures(candidate.table),
            "seeds": list(self.wanted.all_seeds if seeds is None else seeds),
            "scores": list(scores),
            "mean": statistics.fmean(scores),
            "start": candidate.recipe.train.start,
            "training_runs": training_runs,
            "runs": [str(run.absolute()) for run in runs],
            **candidate.facts,
        }
        self._on_entry(candidate, entry)
        return entry


def method(name: str) -> Callable[[Work], None]:
    """What does the work of a method."""
    run: Callable[[Work], None] = import_module(f"locomt.search.methods.{name}").run
    return run
