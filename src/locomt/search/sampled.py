"""Searches that an Optuna study steers: it proposes tables, they are trained, it learns what they came to.

Heads of a layer differ in nothing but their views, so a table is written with each layer's heads in the order of the
space's views, and what a sampler proposes is brought into that form and within the budget before it counts: the study
holds only tables that were meant.
"""

from __future__ import annotations

import hashlib
import logging
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from locomt.search.budget import SearchError, Space
from locomt.search.candidates import strategies
from locomt.search.method import Candidate, Work, with_table
from locomt.train.jobs import Job, Outcome
from locomt.views import LayerViews, View, ViewTable

STORAGE = "study.db"
STARTUP = 4  # runs that are had whole before any is given up
TRIES = 50  # proposals for each table wanted, before it is taken that there are no new ones


@dataclass(frozen=True, kw_only=True)
class Steering:
    """How a study proposes.

    Attributes:
        sampler: seed -> an Optuna sampler, made anew for every proposal, so that a study that goes on proposes what it
            would have proposed without the stop.
        with_cost: whether cost is a second objective.
        prune: whether runs that fall behind are given up, which Optuna has for one objective alone.
    """

    sampler: Callable[[int], Any]
    with_cost: bool
    prune: bool


def steer(work: Work, name: str, steering: Steering) -> None:
    """Make a study of `--tables` trained tables, hand-made ones first, or go on with it.

    Raises:
        SearchError: Optuna is not installed, or the storage cannot be used.
    """
    study = _open(work, name, steering)
    # a file of its own has no other workers, and may be moved
    worker = f"{socket.gethostname()}:{work.out.absolute()}" if work.wanted.option("storage") else STORAGE
    _take_back(study, worker)
    for trial in study.get_trials(deepcopy=False):
        _recall(work, trial)
    if not study.get_trials(deepcopy=False):
        model = work.recipe.model
        for table in dict.fromkeys(_hand_made(work, model.cross, model.views_seed)):
            study.enqueue_trial(_parameters(_canonical(table, work.space)))
    wanted = work.wanted.option("tables")
    for _ in range(wanted * TRIES):
        if _counted(study) >= wanted:
            return
        batch = _propose(study, work, steering, min(work.at_once, wanted - _counted(study)), worker)
        if batch:
            _train(study, work, batch, steering)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise SearchError("this method needs Optuna: pip install 'locomt[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return optuna


def _url(work: Work) -> str:
    """Of the study's storage."""
    return str(work.wanted.option("storage") or f"sqlite:///{work.out / STORAGE}")


def _open(work: Work, name: str, steering: Steering) -> Any:
    """The study of this question: of this method, recipe, budget and seeds, whoever asks it."""
    optuna = _optuna()
    work.out.mkdir(parents=True, exist_ok=True)
    url, recipe = _url(work), work.recipe
    asked = (
        recipe.to_dict() | {"data": None},
        work.limit,
        list(work.wanted.all_seeds),
        [f"{view} {work.space.price(view)}" for view in work.space.views],
    )
    question = hashlib.sha256(repr(asked).encode()).hexdigest()[:12]
    best = "maximize" if recipe.monitor_mode == "max" else "minimize"
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.create_study(
            storage=url,
            study_name=f"locomt-{name}-{question}",
            directions=[best, "minimize"] if steering.with_cost else [best],
            load_if_exists=True,
        )
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, ValueError) as error:  # no driver, no such URL
        reason = str(error).strip().partition("\n")[0]
        raise SearchError(f"storage {url!r} cannot be used: {reason or type(error).__name__}") from None


def _take_back(study: Any, worker: str) -> None:
    """Trials that this worker had begun when it was stopped are to be done again."""
    state = _optuna().trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        if trial.user_attrs.get("worker", worker) == worker:
            study.tell(trial.number, state=state.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


def _recall(work: Work, trial: Any) -> None:
    """Put down what the study knows already, be it from here or from another machine."""
    state = _optuna().trial.TrialState
    if trial.state == state.PRUNED:
        work.before += trial.user_attrs["cost"]
    if trial.state == state.COMPLETE:
        candidate = _candidate(work, _table(trial.params, work.space), trial.number)
        runs = [candidate.job(work.runs, seed).directory for seed in work.wanted.all_seeds]
        runs = [run for run in runs if run.is_dir()]
        work.tell(candidate, trial.user_attrs["scores"], training_runs=trial.user_attrs["cost"], runs=runs)


def _counted(study: Any) -> int:
    state = _optuna().trial.TrialState
    return len(study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED, state.RUNNING)))


def _propose(study: Any, work: Work, steering: Steering, count: int, worker: str) -> list[tuple[Any, ViewTable]]:
    """So many new tables, or fewer."""
    state = _optuna().trial.TrialState
    batch: list[tuple[Any, ViewTable]] = []
    for attempt in range(TRIES):
        if len(batch) == max(1, count):
            break
        seed = (work.recipe.train.seed * 1000 + _counted(study)) * TRIES + attempt  # the same after a stop
        known = {str(_table(t.params, work.space)) for t in study.get_trials(deepcopy=False) if _is_tried(t)}
        study.sampler = steering.sampler(seed)
        trial = study.ask()
        trial.set_user_attr("worker", worker)
        asked = {
            name: trial.suggest_categorical(name, [str(view) for view in work.space.views])
            for name in _names(work.space)
        }
        table = _within(_canonical(_table(asked, work.space), work.space), work, seed)
        meant = _parameters(table)
        if str(table) in known:
            study.tell(trial, state=state.FAIL)
        elif meant != asked:
            study.tell(trial, state=state.FAIL)
            study.enqueue_trial(meant)
        else:
            batch.append((trial, table))
    return batch


def _is_tried(trial: Any) -> bool:
    state = _optuna().trial.TrialState
    return trial.state in (state.COMPLETE, state.PRUNED) or (trial.state == state.RUNNING and bool(trial.params))


def _train(study: Any, work: Work, batch: list[tuple[Any, ViewTable]], steering: Steering) -> None:
    state = _optuna().trial.TrialState
    jobs: list[tuple[int, Job]] = []
    for place, (trial, table) in enumerate(batch):
        candidate = _candidate(work, table, trial.number)
        for seed in work.wanted.all_seeds:
            job = candidate.job(work.runs, seed)
            if steering.prune and seed == work.recipe.train.seed:
                watch = Watch(_url(work), study.study_name, trial._trial_id, f"val_{work.recipe.monitor}")
                job = replace(job, watch=watch)
            jobs.append((place, job))
    outcomes: dict[int, list[tuple[Job, Outcome]]] = {}
    for (place, job), outcome in zip(jobs, work.do([job for _, job in jobs]), strict=True):
        outcomes.setdefault(place, []).append((job, outcome))
    for place, (trial, table) in enumerate(batch):
        found = outcomes[place]
        cost = sum(cost_in_runs(outcome, work.recipe.train.epochs) for _, outcome in found)
        trial.set_user_attr("cost", cost)
        if any(outcome.stopped for _, outcome in found):
            study.tell(trial, state=state.PRUNED)
            work.before += cost
            continue
        scores = [work.score(job, outcome) for job, outcome in found]
        trial.set_user_attr("scores", scores)
        mean = sum(scores) / len(scores)
        study.tell(trial, [mean, float(work.space.cost(table))] if steering.with_cost else mean)
        runs = [job.directory for job, _ in found]
        work.tell(_candidate(work, table, trial.number), scores, training_runs=cost, runs=runs)


def cost_in_runs(outcome: Outcome, epochs: int) -> float:
    """What a run took: 1, or the share of its epochs (counted from 1) that it had when it was given up."""
    return float(outcome.summary["epoch"]) / epochs if outcome.stopped else 1.0


@dataclass(frozen=True)
class Watch:
    """Tells a study how a run goes, epoch by epoch, and whether it is worth going on; in whatever process it runs."""

    url: str
    study: str
    trial: int
    metric: str

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Whether to stop."""
        optuna = _optuna()
        study = optuna.load_study(storage=self.url, study_name=self.study, pruner=optuna.pruners.MedianPruner(STARTUP))
        trial = optuna.trial.Trial(study, self.trial)
        if row.get(self.metric) is None:
            return False
        trial.report(row[self.metric], int(row["epoch"]))
        return bool(trial.should_prune())


def _candidate(work: Work, table: ViewTable, number: int) -> Candidate:
    return Candidate(table=table, names=(f"{work.wanted.method} {number}",), recipe=with_table(work.recipe, table))


def _hand_made(work: Work, cross: float, seed: int) -> Iterator[ViewTable]:
    try:
        yield from strategies(work.space, work.limit, cross=cross, seed=seed).values()
    except SearchError:
        return  # a budget that they cannot reach, and other tables can


def _names(space: Space) -> list[str]:
    return [f"{layer}.{head}" for layer in range(space.layers) for head in range(space.heads)]


def _parameters(table: ViewTable) -> dict[str, str]:
    return {
        f"{number}.{head}": str(view)
        for number, layer in enumerate(table.layers)
        for head, view in enumerate(layer.heads)
    }


def _table(parameters: Mapping[str, str], space: Space) -> ViewTable:
    rows = (tuple(View(parameters[f"{layer}.{head}"]) for head in range(space.heads)) for layer in range(space.layers))
    return ViewTable(tuple(LayerViews(space.modalities, row) for row in rows))


def _canonical(table: ViewTable, space: Space) -> ViewTable:
    """The same table with each layer's heads in the order of the space's views."""
    rows = (tuple(sorted(layer.heads, key=space.views.index)) for layer in table.layers)
    return ViewTable(tuple(LayerViews(space.modalities, row) for row in rows))


def _within(table: ViewTable, work: Work, seed: int) -> ViewTable:
    """The table with the cheapest view in as many heads, drawn at random, as the budget asks for."""
    space = work.space
    rows = [list(layer.heads) for layer in table.layers]
    cheapest = min(space.views, key=space.price)
    places = [(layer, head) for layer in range(space.layers) for head in range(space.heads)]
    random.Random(seed).shuffle(places)
    excess = space.cost(table) - work.limit
    for layer, head in places:
        if excess <= 0:
            break
        excess -= space.price(rows[layer][head]) - space.price(cheapest)
        rows[layer][head] = cheapest
    made = ViewTable(tuple(LayerViews(space.modalities, tuple(row)) for row in rows))
    return _canonical(made, space)
