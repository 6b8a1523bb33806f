"""Train one elastic model for all tables, then score hundreds of tables with its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from locomt.search.budget import SearchError
from locomt.search.candidate import Candidate
from locomt.search.elastic_front import keep_front
from locomt.search.front import Entry, best, front
from locomt.search.ledger import describe, samples_of
from locomt.search.scoring import validation_scores
from locomt.search.starting_run import is_dense, load_fitting
from locomt.search.tables import cheapest_view, strategies, table_of, within
from locomt.search.work import Work
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory
from locomt.train.runs import Job, device_of
from locomt.train.views.elastic import random_table
from locomt.views import ViewTable

LENGTH = 7 / 3
"""Length of its training over the recipe's. With three passes a step and the dense model it costs eight runs in all."""
GENERATION = 25
"""How many tables are bred at a time, from all that are known by then."""
FRESH = 0.1
"""The share of random tables among them, so that not all are related."""
TRIES = 50
"""Attempts for each table that is wanted, before it is assumed that there are no more."""


def run(work: Work) -> None:
    """Search: half of the tables are made without regard to scores, the others are bred from the best."""
    Elastic(work).search(work.question.option("tables"))


class Elastic:
    """The trained models, one for each seed, and the tables scored so far."""

    def __init__(self, work: Work) -> None:
        self.work, self.space = work, work.space
        source, seeds = work.question.source, work.question.option("seeds")
        if source and seeds > 1:
            raise SearchError(f"seeds: {source} is one run, of one seed; leave --seeds out, or --from to train {seeds}")
        if source and not is_dense(source):
            if work.question.epochs:
                raise SearchError(f"epochs: {source} is trained already; leave --epochs out, or --from to train anew")
            trained = [source]
        else:
            trained = _train(work)
        self.runs = [_load(path, work) for path in trained]
        self.weights = [_digest(path) for path in trained]
        self.rng = np.random.default_rng(work.recipe.model.views_seed)
        self.common = describe(work.space, work.recipe)
        self.entries: dict[ViewTable, Entry] = {}

    def search(self, count: int) -> None:
        made = self._made(count)
        self._score(made)
        while len(self.entries) < count and (bred := self._bred(min(GENERATION, count - len(self.entries)))):
            self._score(bred)
        for place, run in enumerate(self.runs):
            own = [entry | {"mean": entry["scores"][place]} for entry in self.entries.values()]
            kept = ({name: entry[name] for name in ("views", "mean")} for entry in own)
            keep_front(run.path, self._scored(place), list(kept), replace(self.space, times=None))

    def _scored(self, place: int) -> Entry:
        """What the scores of a model depend on. Scores are comparable only if this is equal."""
        data = self.work.recipe.data
        common = {name: self.common[name] for name in ("metric", "better")}
        samples = samples_of(data, data.val_split)
        return {**common, "split": data.val_split, "samples": samples, "weights": self.weights[place]}

    def _score(self, tables: Mapping[ViewTable, list[str]]) -> None:
        """Score tables. Scores of an earlier search with the same weights are reused."""
        ledger = self.work.ledger
        known = {entry["views"]: entry["scores"] for entry in ledger.known if entry.get("weights") == self.weights}
        new, device = [table for table in tables if str(table) not in known], device_of(self.work.recipe)
        if new:
            scores = zip(*(validation_scores(run, new, device=device) for run in self.runs), strict=True)
            known |= {str(table): list(own) for table, own in zip(new, scores, strict=True)}
        for table, names in tables.items():
            recipe, facts = self.work.tuned(table, self.runs[0].path), {"weights": self.weights}
            candidate = Candidate(table=table, names=tuple(names), recipe=recipe, facts=facts)
            runs = [run.path for run in self.runs]
            self.entries[table] = ledger.record(candidate, known[str(table)], training_runs=0.0, runs=runs)

    def _made(self, count: int) -> dict[ViewTable, list[str]]:
        """The cheapest table, the hand-made ones and random ones."""
        space, model = self.space, self.work.recipe.model
        least = [cheapest_view(space, layer) for layer in range(space.layers) for _ in range(space.heads)]
        cheapest = table_of(least, space)
        found: dict[ViewTable, list[str]] = {cheapest: ["cheapest"]}
        try:
            made = strategies(space, self.work.limit, cross=model.cross, seed=model.views_seed)
        except SearchError:  # none of them is within the budget
            made = {}
        for name, table in made.items():
            found.setdefault(table, []).append(name)
        for number in range(count * TRIES):
            if len(found) >= max(count // 2, 1):
                break
            table = self._within(random_table(cheapest, self.rng))
            found.setdefault(table, [f"drawn {number}"])
        return dict(list(found.items())[:count])

    def _bred(self, count: int) -> dict[ViewTable, list[str]]:
        """Mutate the best table, and as often any table on the front, so that all of it moves. A few are random."""
        known, better = list(self.entries.values()), self.common["better"]
        top, ahead = best(known, better, self.space.unit), front(known, better, self.space.unit)
        found: dict[ViewTable, list[str]] = {}
        for _ in range(count * TRIES):
            if len(found) == count:
                break
            parent = top if self.rng.random() < 0.5 else ahead[self.rng.integers(len(ahead))]
            if self.rng.random() < FRESH:
                table = self._within(random_table(next(iter(self.entries)), self.rng))
            else:
                table = self._changed(ViewTable.parse(parent["views"], self.space.modalities))
            if table not in self.entries:
                found.setdefault(table, [f"bred {len(self.entries) + len(found)}"])
        return found

    def _changed(self, table: ViewTable) -> ViewTable:
        """Mutate a table: draw new views for a few heads, at most an eighth."""
        heads = [view for layer in table.layers for view in layer.heads]
        most = max(1, len(heads) // 8)
        for place in self.rng.choice(len(heads), size=self.rng.integers(1, most + 1), replace=False):
            heads[place] = self.space.views[self.rng.integers(len(self.space.views))]
        return self._within(table_of(heads, self.space))

    def _within(self, table: ViewTable) -> ViewTable:
        return within(table, self.space, self.work.limit, self.rng.permutation(self.space.layers * self.space.heads))


def _train(work: Work) -> list[Path]:
    """Train a model for each seed from a dense one. The best epoch is chosen by the recipe's own table."""
    source, seeds = work.question.source, work.question.all_seeds
    epochs = work.question.epochs or round(LENGTH * work.recipe.train.epochs)
    elastic_recipe(work.recipe, epochs)  # raises before anything is trained
    if source:
        load_fitting(source, work.space.config)
    dense = [source] if source else work.dense(seeds)
    jobs = [elastic_job(work.recipe, start, epochs, seed, work.runs) for start, seed in zip(dense, seeds, strict=True)]
    work.runner.do(jobs)
    passes = len(work.recipe.train.elastic_tables)
    work.ledger.other_runs += passes * len(jobs) * epochs / work.recipe.train.epochs
    return [job.directory for job in jobs]


def elastic_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe that trains an elastic model.

    Raises:
        RecipeError: the recipe cannot be trained in this way.
    """
    recipe = recipe if recipe.model.fusion == "locomt" else recipe.fused("locomt")
    return replace(recipe, train=replace(recipe.train, views="elastic", pretrained={}, epochs=epochs))


def elastic_job(recipe: Recipe, dense: Path, epochs: int, seed: int, root: Path) -> Job:
    """The run that trains an elastic model from the weights of a dense one."""
    recipe = elastic_recipe(recipe, epochs)
    recipe = replace(recipe, train=replace(recipe.train, start=str(dense.absolute())))
    return Job.seeded("elastic", recipe, seed, root / "elastic", test=False)


def _digest(path: Path) -> str:
    """A hash of the weights of a finished run."""
    found = hashlib.sha256()
    for file in sorted(RunDirectory(path).model.glob("*.safetensors")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def _load(path: Path, work: Work) -> Run:
    """Load a finished elastic run, to score it on the data of the search."""
    run = load_fitting(path, work.space.config)
    if run.recipe.train.views != "elastic":
        raise SearchError(
            f"{path}: expected a run of Multiall or of train.views 'elastic', got one of {run.recipe.model.fusion!r} "
            f"and {run.recipe.train.views!r}; leave --from out to train both"
        )
    return replace(run, recipe=work.recipe)
