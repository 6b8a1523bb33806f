"""Do many runs, one after the other or several at a time; find those done that were finished before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from locomt import progress
from locomt.data import label_list
from locomt.faults import MachineError
from locomt.processes import forked_from, workers
from locomt.progress import Stage
from locomt.train.origin import key
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory, write_text

LOOK = 1.0
"""Seconds between two looks at runs that are done side by side."""
SCORES = "test.json"
"""What `locomt.train.evaluate` said about the test split, in the run's directory."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to do.

    Attributes:
        label: its name in progress lines.
        recipe: what to train.
        directory: of the run, there already or not.
        test: whether to score it on the test split too.
        watch: gets the row of every epoch, in the process of the run; True stops the run, which can go on later.
    """

    label: str
    recipe: Recipe
    directory: Path
    test: bool = True
    watch: Callable[[Mapping[str, Any]], bool] | None = None

    @classmethod
    def seeded(cls, label: str, recipe: Recipe, seed: int, folder: Path, *, test: bool = True) -> Job:
        """The run of a recipe with this seed, in `folder/seed-N`; other runs of the recipe may be beside it."""
        return cls(
            label=f"{label} seed {seed}",
            recipe=replace(recipe, train=replace(recipe.train, seed=seed)),
            directory=folder / f"seed-{seed}",
            test=test,
        )

    @property
    def found(self) -> bool:
        """Whether there is nothing left to do."""
        return RunDirectory(self.directory).finished and (not self.test or (self.directory / SCORES).is_file())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a run.

    Attributes:
        summary: what `locomt.train.fit` returned; of a stopped run, the row of its last epoch.
        scores: what `locomt.train.evaluate` returned for the test split; None where it was not asked for.
        seconds: that it took; 0 where it was found done.
        stopped: whether `Job.watch` stopped it.
    """

    summary: dict[str, Any]
    scores: dict[str, Any] | None
    seconds: float
    stopped: bool = False


class StoppedError(Exception):
    """Raised within a run to stop it."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.row = row


def device_of(recipe: Recipe) -> torch.device:
    """Where a recipe's models are scored and timed."""
    from locomt.train.evaluation import best_device

    return torch.device("cpu") if recipe.train.accelerator == "cpu" else best_device()


def do(job: Job) -> Outcome:
    """Train and score a run, or go on from where it was stopped, or find it done.

    Raises:
        ValueError: as `locomt.train.fit` and `evaluate`; the directory holds the run of another recipe.
    """
    from locomt.train.evaluation import Run, evaluate
    from locomt.train.fitting import fit
    from locomt.train.model_card import record

    found, start = job.found, time.monotonic()
    if (row := _given_up(job)) is not None:
        return _stopped(job, row, start)

    def watch(row: Mapping[str, Any]) -> None:
        if job.watch is not None and job.watch(row):
            raise StoppedError(row)

    try:
        summary = fit(job.recipe, job.directory, resume=True, on_epoch=watch if job.watch else None)
    except StoppedError as stop:
        return _stopped(job, stop.row, start)
    scores = None
    if job.test:
        path = job.directory / SCORES
        if not path.is_file():
            run = Run.load(job.directory)
            scored = evaluate(run, device=device_of(job.recipe))
            record(run, job.recipe.data.test_split, scored)
            write_text(path, json.dumps(scored, indent=2) + "\n")
        scores = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(summary=summary, scores=scores, seconds=0.0 if found else time.monotonic() - start)


def _given_up(job: Job) -> Mapping[str, Any] | None:
    """The epoch after which `watch` stops the run, among those that an earlier process had.

    That process may have ended before it told `watch` of its last epoch, or before it heeded the answer.
    """
    run = RunDirectory(job.directory)
    if job.watch is None or run.finished or not run.last.exists():
        return None
    run.resume(job.recipe, label_list(job.recipe.data))
    return next((row for row in run.read_history() if job.watch(row)), None)


def _stopped(job: Job, row: Mapping[str, Any], start: float) -> Outcome:
    summary = {"monitor": f"val_{job.recipe.monitor}", **row}
    return Outcome(summary=summary, scores=None, seconds=time.monotonic() - start, stopped=True)


def _told(*facts: str) -> Sequence[str]:
    return facts


def _tell_nobody(*_: object) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Does runs, and tells how far it is.

    Every run has `threads` threads, whether it has the machine to itself or not, so that what comes out does not
    depend on `at_once`.

    Attributes:
        at_once: processes; with 1 the work is done in this one.
        threads: CPU threads of each.
        on_plan: told how many runs are about to be done, each time that some are.
        on_run: told every run that is done, or found done.
    """

    at_once: int = 1
    threads: int = 1
    on_plan: Callable[[int], object] = _tell_nobody
    on_run: Callable[[Job, Outcome], object] = _tell_nobody

    def __post_init__(self) -> None:
        for name, value in (("jobs", self.at_once), ("threads", self.threads)):
            if value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")

    def do(self, jobs: Sequence[Job], on_done: Callable[[Job, Outcome], object] = _tell_nobody) -> list[Outcome]:
        """The outcomes of the jobs, in their order.

        Args:
            jobs: what to do.
            on_done: told every job as it is done, before `on_run` is.

        Raises:
            ValueError: as `do`, or a run that is still to be done wants several devices.
            MachineError: as `do`, or a process died.
        """
        self.on_plan(len(jobs))
        for job in jobs:
            if job.recipe.train.devices > 1 and not RunDirectory(job.directory).finished:
                raise ValueError(
                    f"train.devices is {job.recipe.train.devices}, but many runs are done with one device each; "
                    f"leave it out, or train {job.label} first by `locomt train`, into {job.directory}, where it will "
                    "be found"
                )
        key()  # before any process is started: what they make is this one's own, wherever the key is kept
        outcomes: dict[int, Outcome] = {}
        left = [place for place, job in enumerate(jobs) if not job.found]
        alone = min(self.at_once, len(left)) <= 1
        with progress.stage("runs", "runs") as seen, torch_threads(self.threads):
            self._announce(seen, [jobs[place].recipe for place in left])
            seen.begin(len(jobs), len(jobs) - len(left))

            def tell(place: int, outcome: Outcome) -> None:
                outcomes[place] = outcome
                on_done(jobs[place], outcome)
                self.on_run(jobs[place], outcome)
                if place in left:
                    seen.add()

            for place, job in enumerate(jobs):
                if place not in left:
                    tell(place, do(job))
                elif alone:
                    seen.at(seen.done, partial(_told, job.label))
                    tell(place, do(job))
            if not alone:
                self._do_side_by_side({place: jobs[place] for place in left}, tell, seen)
        return [outcomes[place] for place in range(len(jobs))]

    def _announce(self, seen: Stage, recipes: Sequence[Recipe]) -> None:
        if not recipes or not progress.is_heard():
            return
        from locomt.train.header import runs_line

        labels = [label_list(recipe.data) for recipe in recipes]
        seen.note(runs_line(recipes, labels, min(self.at_once, len(recipes)), device_of(recipes[0]).type))

    def _do_side_by_side(self, jobs: Mapping[int, Job], tell: Callable[[int, Outcome], None], seen: Stage) -> None:
        context = forked_from("locomt.train.fitting")
        try:
            with workers(min(self.at_once, len(jobs)), context, torch.set_num_threads, self.threads) as pool:
                places = {pool.submit(do, job): place for place, job in jobs.items()}
                for _ in jobs:
                    while (ended := pool.ended(LOOK)) is None:
                        seen.at(seen.done)
                    tell(places[ended], ended.result())
        except BrokenProcessPool:
            raise MachineError(
                f"a process that had a run died: the memory may be too small for {self.at_once} runs at a time "
                "(--jobs), or a decoder crashed; with --jobs 1 it shows where. The same command goes on"
            ) from None


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Give torch that many CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
