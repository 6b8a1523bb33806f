"""A search from its recipe to the chosen table: what is proposed is trained, scored on validation and compared."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from locomt.data import label_list, read_manifest
from locomt.data.atomic import write_text
from locomt.data.json_text import to_json
from locomt.search.budget import Budget, SearchError, Space
from locomt.search.candidates import draws, strategies
from locomt.search.results import Entry, best, describe, front, key, merged, read_tables
from locomt.train.jobs import Job, Outcome, do_all
from locomt.train.recipe import Recipe
from locomt.views import ViewTable

METHODS = ("strategies", "random")
RESULTS, CHOSEN, PLOT = "results.json", "chosen.yaml", "front.svg"


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to search, and how.

    Attributes:
        recipe: what all tables are trained with; its own table takes no part.
        budget: that no table exceeds.
        method: one of `METHODS`.
        tables: how many `random` draws.
        seeds: runs of every table, with `train.seed` and those that follow it.
        one_way: whether heads may look one way (`a>b`); the strategies never do.
    """

    recipe: Recipe
    budget: Budget
    method: str = "strategies"
    tables: int = 8
    seeds: int = 1
    one_way: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SearchError(f"method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        for name in ("tables", "seeds"):
            if getattr(self, name) < 1:
                raise SearchError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        data = self.recipe.data
        if not any(row.split == data.val_split for row in read_manifest(data.manifest, data.columns)):
            raise SearchError(
                f"{data.manifest}: no row has split {data.val_split!r} (data.val_split), by which to choose"
            )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A table to train and score.

    Attributes:
        table: the views.
        names: what it is called; several where they turn out the same.
        recipe: with the table in it.
    """

    table: ViewTable
    names: tuple[str, ...]
    recipe: Recipe

    def job(self, root: Path, seed: int) -> Job:
        """The run with one seed, in a directory that any search of the same recipe shares."""
        name = hashlib.sha256(str(self.table).encode()).hexdigest()[:12]
        return Job(
            label=f"{self.names[0]} seed {seed}",
            recipe=replace(self.recipe, train=replace(self.recipe.train, seed=seed)),
            directory=root / name / f"seed-{seed}",
            test=False,  # the test split has no part in a search
        )


def with_table(recipe: Recipe, table: ViewTable) -> Recipe:
    """The recipe for a LoCoMT of this table."""
    return replace(recipe, model=replace(recipe.model, fusion="locomt", views=str(table)))


def search(
    wanted: Search,
    out: Path,
    *,
    at_once: int = 1,
    threads: int = 1,
    on_plan: Callable[[int], object] = lambda runs: None,
    on_run: Callable[[Job, Outcome], object] = lambda job, outcome: None,
) -> dict[str, Any]:
    """Make a search, or go on with it where it was stopped.

    Args:
        wanted: what to search.
        out: gets `runs/`, a directory each, of which those found finished are not done again and those begun are gone
            on with; `results.json`, renewed with every table that is scored; and at the end `chosen.yaml`, a recipe,
            and `front.svg`. A directory may serve several searches of one recipe, whose tables come together there.
        at_once: runs done at a time, each in a process of its own. The results do not depend on it.
        threads: of each run.
        on_plan: told how many runs are about to be had.
        on_run: told every run that was had.

    Returns:
        What `results.json` holds; see docs/search.md.

    Raises:
        ValueError: something in the recipe, its data, the budget or `out` cannot serve.
    """
    recipe = wanted.recipe
    space = Space(recipe.fusion_config(label_list(recipe.data)), wanted.one_way)
    limit = space.limit(wanted.budget)
    before = read_tables(out / RESULTS, recipe)
    candidates = _propose(wanted, space, limit)
    seeds = range(recipe.train.seed, recipe.train.seed + wanted.seeds)
    jobs = [(candidate, [candidate.job(out / "runs", seed) for seed in seeds]) for candidate in candidates]
    done: dict[Path, Outcome] = {}
    document: dict[str, Any] = {}

    def keep(job: Job, outcome: Outcome) -> None:
        nonlocal document
        done[job.directory] = outcome
        scored = [
            _entry(candidate, space, own, [done[job.directory] for job in own], recipe)
            for candidate, own in jobs
            if all(job.directory in done for job in own)
        ]
        if scored:
            document = _document(wanted, space, limit, before, scored, complete=len(scored) == len(jobs))
            write_text(out / RESULTS, to_json(document, indent=2) + "\n")
        on_run(job, outcome)

    everything = [job for _, own in jobs for job in own]
    on_plan(len(everything))
    do_all(everything, at_once=at_once, threads=threads, on_done=keep)
    _write_chosen(document, candidates, out)
    return document


def _propose(wanted: Search, space: Space, limit: int) -> list[Candidate]:
    """The tables that a method wants tried; those of several names once."""
    recipe = wanted.recipe
    if wanted.method == "strategies":
        tables = strategies(space, limit, cross=recipe.model.cross, seed=recipe.model.views_seed)
    else:
        tables = draws(space, limit, wanted.tables, recipe.model.views_seed)
    names: dict[ViewTable, list[str]] = {}
    for name, table in tables.items():
        names.setdefault(table, []).append(name)
    return [Candidate(table=table, names=tuple(own), recipe=with_table(recipe, table)) for table, own in names.items()]


def _entry(
    candidate: Candidate, space: Space, jobs: Sequence[Job], outcomes: Sequence[Outcome], recipe: Recipe
) -> Entry:
    name = f"val_{recipe.monitor}"
    found = [outcome.summary.get(name) for outcome in outcomes]
    scores = [score for score in found if score is not None]
    if len(scores) < len(found):
        raise SearchError(
            f"{jobs[found.index(None)].directory}: {name} is undefined on split {recipe.data.val_split!r}, so that "
            "nothing can be chosen by it; set train.monitor to another metric"
        )
    cost = space.cost(candidate.table)
    return {
        "views": str(candidate.table),
        "names": list(candidate.names),
        "gflops": space.gflops(cost),
        "share": cost / space.multiall,
        "seeds": [job.recipe.train.seed for job in jobs],
        "scores": scores,
        "mean": statistics.fmean(scores),
        "start": candidate.recipe.train.start,
        "training_runs": len(jobs) * candidate.recipe.train.epochs / recipe.train.epochs,
        "runs": [str(job.directory) for job in jobs],
    }


def _document(
    wanted: Search, space: Space, limit: int, before: Sequence[Entry], scored: Sequence[Entry], *, complete: bool
) -> dict[str, Any]:
    common = describe(space, wanted.recipe)
    tables = merged(before, scored)
    chosen = key(best(scored, common["better"]))
    return {
        "method": wanted.method,
        "budget": {"text": str(wanted.budget), "gflops": space.gflops(limit), "share": limit / space.multiall},
        "complete": complete,
        "training_runs": sum(entry["training_runs"] for entry in scored),
        "chosen": next(entry for entry in tables if key(entry) == chosen),
        "front": front(tables, common["better"]),
        "tables": tables,
        **common,
    }


def _write_chosen(document: Mapping[str, Any], candidates: Sequence[Candidate], out: Path) -> None:
    from locomt.search.plot import plot_front

    chosen = key(document["chosen"])
    (recipe,) = (c.recipe for c in candidates if (str(c.table), c.recipe.train.start) == chosen)
    write_text(out / CHOSEN, recipe.to_yaml(out))
    plot_front(document, out / PLOT)
