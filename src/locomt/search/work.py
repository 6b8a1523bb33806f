"""What a search method works with: it trains runs, makes recipes for them, and records scores in a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from locomt.search.budget import SearchError
from locomt.search.candidate import Candidate, dense_job, with_table
from locomt.search.front import Entry
from locomt.search.ledger import Ledger
from locomt.search.question import Question
from locomt.search.space import Space
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, Outcome, Runner
from locomt.views import ViewTable

RATE = 0.3
"""The learning rate for a model that is already trained, as a share of the recipe's peak rate."""


@dataclass(frozen=True)
class Work:
    """A search in progress.

    Attributes:
        ledger: the question, and the tables tried so far.
        runner: trains the models.
    """

    ledger: Ledger
    runner: Runner

    @property
    def question(self) -> Question:
        return self.ledger.question

    @property
    def recipe(self) -> Recipe:
        return self.ledger.question.recipe

    @property
    def space(self) -> Space:
        return self.ledger.space

    @property
    def limit(self) -> int:
        """The most that a table may cost, in the unit of `space.cost`."""
        return self.ledger.limit

    @property
    def out(self) -> Path:
        """The directory of the search."""
        return self.ledger.out

    @property
    def runs(self) -> Path:
        """The directory of the runs."""
        return self.out / "runs"

    def in_runs(self, samples: float) -> float:
        """The cost of training on so many samples, in runs of the recipe."""
        return samples / (self.recipe.train.epochs * self.question.epoch_samples)

    def tuned(self, table: ViewTable, start: Path) -> Recipe:
        """The recipe for a short training of this table from the weights of a finished run.

        It takes the share `finetune` of the recipe's steps: in whole epochs, or in a shorter one if one is too long.
        """
        recipe, train = with_table(self.recipe, table), self.recipe.train
        epochs = self.question.option("finetune") * train.epochs
        short, whole = epochs < 1, max(1, round(epochs))
        train = replace(
            train,
            start=str(start.absolute()),
            pretrained={},
            epochs=whole,
            epoch_samples=max(1, round(epochs * self.question.epoch_samples)) if short else train.epoch_samples,
            learning_rate=RATE * train.learning_rate,
            warmup_epochs=min(train.warmup_epochs, whole / 10),
        )
        return replace(recipe, train=train)

    def dense(self, seeds: Iterable[int]) -> list[Path]:
        """Train Multiall with every seed, unless it is trained. Returns the directories of the runs."""
        jobs = [dense_job(self.recipe, seed, self.runs) for seed in seeds]
        self.runner.do(jobs)
        self.ledger.other_runs += len(jobs)
        return [job.directory for job in jobs]

    def train(self, candidates: Iterable[Candidate], seeds: Sequence[int] | None = None) -> list[Entry]:
        """Train candidates with every seed, unless they are trained. Each is recorded when it has all its scores.

        Args:
            candidates: the tables.
            seeds: the seeds; by default those of the search.
        """
        seeds = self.question.all_seeds if seeds is None else seeds
        jobs = [(c, [c.job(self.runs, seed) for seed in seeds]) for c in candidates]
        done: dict[Path, Outcome] = {}
        entries: dict[int, Entry] = {}

        def keep(job: Job, outcome: Outcome) -> None:
            done[job.directory] = outcome
            for place, (candidate, own) in enumerate(jobs):
                if place not in entries and all(run.directory in done for run in own):
                    scores = [self.score(run, done[run.directory]) for run in own]
                    train = candidate.recipe.train
                    cost = self.in_runs(len(own) * train.epochs * (train.epoch_samples or self.question.epoch_samples))
                    runs = [run.directory for run in own]
                    entries[place] = self.ledger.record(candidate, scores, seeds=seeds, training_runs=cost, runs=runs)

        self.runner.do([job for _, own in jobs for job in own], keep)
        return [entries[place] for place in range(len(jobs))]

    def score(self, job: Job, outcome: Outcome) -> float:
        """The validation score of a run.

        Raises:
            SearchError: it is undefined.
        """
        name = f"val_{self.recipe.monitor}"
        score = outcome.summary.get(name)
        if score is None:
            raise SearchError(
                f"{job.directory}: {name} is undefined on split {self.recipe.data.val_split!r}, so that "
                "nothing can be chosen by it; set train.monitor to another metric"
            )
        return float(score)
