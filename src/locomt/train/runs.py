"""Doing many runs, one after the other or several at a time; what was finished before is not done again."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from locomt.data import label_list
from locomt.faults import MachineError
from locomt.processes import workers
from locomt.train.origin import key
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory, write_text

SCORES = "test.json"
"""What `locomt.train.evaluate` said about the test split, in the run's directory."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to be had.

    Attributes:
        label: what to call it when telling how far things are.
        recipe: what to train.
        directory: where the run is, or goes.
        test: whether to score it on the test split too.
        watch: told the row of every epoch, in whatever process the run is; True stops the run, which can go on later.
    """

    label: str
    recipe: Recipe
    directory: Path
    test: bool = True
    watch: Callable[[Mapping[str, Any]], bool] | None = None

    @property
    def found(self) -> bool:
        """Whether there is nothing left to do."""
        return RunDirectory(self.directory).finished and (not self.test or (self.directory / SCORES).is_file())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Attributes:
        summary: what `locomt.train.fit` returned; of a stopped run, the row of its last epoch.
        scores: what `locomt.train.evaluate` returned for the test split; None where it was not asked for.
        seconds: that it took; 0 where it was found.
        stopped: whether `Job.watch` stopped it.
    """

    summary: dict[str, Any]
    scores: dict[str, Any] | None
    seconds: float
    stopped: bool = False


class StoppedError(Exception):
    """A run that is not worth going on with."""

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
            scored = evaluate(Run.load(job.directory), device=device_of(job.recipe))
            write_text(path, json.dumps(scored, indent=2) + "\n")
        scores = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(summary=summary, scores=scores, seconds=0.0 if found else time.monotonic() - start)


def check_counts(at_once: int, threads: int) -> None:
    """Refuse to do less than one run at a time, or to give it less than one thread."""
    for name, value in (("jobs", at_once), ("threads", threads)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")


def _given_up(job: Job) -> Mapping[str, Any] | None:
    """The epoch after which the run is to be stopped, among those that it had before its process was.

    Whoever watches may not have been told of the last one, or the answer was not heeded any more.
    """
    run = RunDirectory(job.directory)
    if job.watch is None or run.finished or not run.last.exists():
        return None
    run.resume(job.recipe, label_list(job.recipe.data))
    return next((row for row in run.read_history() if job.watch(row)), None)


def _stopped(job: Job, row: Mapping[str, Any], start: float) -> Outcome:
    summary = {"monitor": f"val_{job.recipe.monitor}", **row}
    return Outcome(summary=summary, scores=None, seconds=time.monotonic() - start, stopped=True)


def do_all(
    jobs: Sequence[Job],
    *,
    at_once: int = 1,
    threads: int = 1,
    on_done: Callable[[Job, Outcome], object] = lambda job, outcome: None,
) -> list[Outcome]:
    """The outcomes of the jobs, in their order.

    Every run has `threads` threads, whether it has the machine to itself or not, so that what comes out does not
    depend on `at_once`.

    Args:
        jobs: what to do.
        at_once: processes; with 1 the work is done in this one.
        threads: of each.
        on_done: told every job as it is done.

    Raises:
        ValueError: as `do`, or a run that is still to be done wants several devices.
        MachineError: as `do`, or a process died.
    """
    check_counts(at_once, threads)
    for job in jobs:
        if job.recipe.train.devices > 1 and not RunDirectory(job.directory).finished:
            raise ValueError(
                f"train.devices is {job.recipe.train.devices}, but many runs are done with one device each; leave it "
                f"out, or train {job.label} first by `locomt train`, into {job.directory}, where it will be found"
            )
    key()  # before any process is started: what they make is this one's own, wherever the key is kept
    outcomes: dict[int, Outcome] = {}
    left = [place for place, job in enumerate(jobs) if not job.found]
    alone = min(at_once, len(left)) <= 1
    with torch_threads(threads):
        for place, job in enumerate(jobs):
            if alone or place not in left:
                outcomes[place] = do(job)
                on_done(job, outcomes[place])
    if alone:
        return list(outcomes.values())
    # Spawned, not forked: a fork of a process in which torch has started threads may hang.
    context = multiprocessing.get_context("spawn")
    try:
        with workers(min(at_once, len(left)), context, torch.set_num_threads, threads) as pool:
            places = {pool.submit(do, jobs[place]): place for place in left}
            for _ in left:
                ended = pool.ended()
                assert ended is not None
                place = places[ended]
                outcomes[place] = ended.result()
                on_done(jobs[place], outcomes[place])
    except BrokenProcessPool:
        raise MachineError(
            f"a process that had a run died: the memory may be too small for {at_once} runs at a time (--jobs), or a "
            "decoder crashed; with --jobs 1 it shows where. The same command goes on"
        ) from None
    return [outcomes[place] for place in range(len(jobs))]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Give torch that many CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
