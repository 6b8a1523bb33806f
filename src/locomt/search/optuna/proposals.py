"""Searches that an Optuna study steers: it proposes tables, which are trained, and receives their scores.

The order of heads within a layer does not matter. So every table is put into canonical form: each layer's heads in the
order of the space's views. A sampler's proposal is brought into this form and within the budget first. Only such tables
count in the study.
"""

from __future__ import annotations

import random
import socket
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from locomt.search.budget import SearchError
from locomt.search.candidate import Candidate, with_table
from locomt.search.optuna.study import (
    STORAGE,
    Watch,
    beat,
    beating,
    import_optuna,
    left_by,
    open_study,
    storage_url,
    take_over,
)
from locomt.search.space import Space
from locomt.search.tables import strategies, table_of, within
from locomt.search.work import Work
from locomt.train.runs import Job, Outcome
from locomt.views import LayerViews, View, ViewTable

TRIES = 200  # proposals without a new table, before it is assumed that there is none
GIVEN = "given"
"""An attribute of trials whose table is given, not drawn. It says where the table comes from."""


@dataclass(frozen=True, kw_only=True)
class Steering:
    """How a study proposes tables.

    Attributes:
        sampler: seed -> an Optuna sampler. Every proposal has a new one, so that a resumed study proposes what it would
            have proposed without the stop.
        with_cost: whether cost is a second objective.
        prune: whether runs that fall behind are pruned. Optuna can do this with a single objective only.
    """

    sampler: Callable[[int], Any]
    with_cost: bool
    prune: bool


def steer(work: Work, name: str, steering: Steering) -> None:
    """Train `--tables` tables, the hand-made ones first. A stopped search is resumed.

    Raises:
        SearchError: Optuna is not installed, the storage cannot be used, or other machines run all tables.
    """
    study = open_study(work, name, with_cost=steering.with_cost)
    shared = work.question.option("storage")
    # a search's own file has no other workers, and may be moved
    worker = f"{socket.gethostname()}:{work.out.absolute()}" if shared else STORAGE
    _enqueue_hand_made(study, work)
    batch, begun = _take_up(study, work, worker)
    wanted, told = work.question.option("tables"), set[int]()
    take_over(study)
    _recall(study, work, told)
    at_once = work.runner.at_once
    while True:
        done = _finished(study)
        begun = begun if batch else done
        room = min(at_once - (done - begun) - len(batch), wanted - _counted(study))
        while len(batch) < at_once and room > 0 and (found := _propose(study, work, steering, worker, begun)):
            batch.append(found)
            room -= 1
        if not batch:
            break
        _train(study, work, batch, steering)
        batch = []
        take_over(study)
        _recall(study, work, told)
    if not told and _counted(study):
        raise SearchError(f"storage {shared!r}: other machines are at work on all {wanted} tables; run it again later")


def _enqueue_hand_made(study: Any, work: Work) -> None:
    """Queue the hand-made tables, except those that a stopped process has queued."""
    model, trials = work.recipe.model, study.get_trials(deepcopy=False)
    there = {trial.user_attrs.get(GIVEN) for trial in trials}
    if trials and "hand-made 0" not in there:  # no hand-made table is within the budget
        return
    for number, table in enumerate(dict.fromkeys(_hand_made(work, model.cross, model.views_seed))):
        if (name := f"hand-made {number}") not in there:
            study.enqueue_trial(_parameters(_canonical(table, work.space)), user_attrs={GIVEN: name})


def _take_up(study: Any, work: Work, worker: str) -> tuple[list[tuple[Any, ViewTable]], int]:
    """The tables that this worker was training when it was stopped, and how many were finished when it began them.

    A trial of which only some heads were drawn is dropped. The same table is then proposed again.
    """
    optuna = import_optuna()
    batch: list[tuple[Any, ViewTable]] = []
    begun = _finished(study)
    for left in left_by(study, worker):
        trial = optuna.trial.Trial(study, left._trial_id)
        beat(study, trial)
        if _is_asked(left, work.space) or GIVEN in left.user_attrs:
            known, asked = _known(study, work.space, but=left.number), _suggest(trial, work.space)
            table = _table(asked, work.space)
            if str(table) not in known and table == _within(_canonical(table, work.space), work, 0):
                batch.append((trial, table))
                begun = min(begun, left.user_attrs.get("begun", begun))
                continue
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return batch, begun


def _recall(study: Any, work: Work, told: set[int]) -> None:
    """Record finished trials, whichever machine ran them."""
    state = import_optuna().trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED)):
        if trial.number in told:
            continue
        told.add(trial.number)
        cost = trial.user_attrs["cost"]
        if trial.state == state.PRUNED:
            work.ledger.other_runs += cost
            continue
        candidate = _candidate(work, _table(trial.params, work.space), trial.number)
        runs = [candidate.job(work.runs, seed).directory for seed in work.question.all_seeds]
        here = [run for run in runs if run.is_dir()]
        work.ledger.record(candidate, trial.user_attrs["scores"], training_runs=cost, runs=here)


def _finished(study: Any) -> int:
    state = import_optuna().trial.TrialState
    return len(study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED)))


def _counted(study: Any) -> int:
    running = import_optuna().trial.TrialState.RUNNING
    return _finished(study) + len(study.get_trials(deepcopy=False, states=(running,)))


def _propose(study: Any, work: Work, steering: Steering, worker: str, begun: int) -> tuple[Any, ViewTable] | None:
    """Propose a new table; None if there seems to be no other.

    A draw depends on the number of tables so far and on the number of failed draws for this one. It does not depend on
    what is queued in the study. So a resumed process draws what it would have drawn without the stop.
    """
    state, space = import_optuna().trial.TrialState, work.space
    attempt = 0
    while attempt < TRIES:
        seed = (work.recipe.train.seed * 1000 + _counted(study)) * TRIES + attempt
        known = _known(study, space)
        study.sampler = steering.sampler(seed)
        trial = study.ask()
        beat(study, trial)
        trial.set_user_attr("worker", worker)
        trial.set_user_attr("begun", begun)
        attempt += not (trial.params or GIVEN in trial.user_attrs)
        asked = _suggest(trial, space)
        table = _within(_canonical(_table(asked, space), space), work, seed)
        meant = _parameters(table)
        if str(table) in known:
            study.tell(trial, state=state.FAIL)
        elif meant != asked:
            study.tell(trial, state=state.FAIL)
            study.enqueue_trial(meant, user_attrs={GIVEN: "within the budget"})
        else:
            return trial, table
    return None


def _suggest(trial: Any, space: Space) -> dict[str, str]:
    views = [str(view) for view in space.views]
    return {name: trial.suggest_categorical(name, views) for name in _names(space)}


def _known(study: Any, space: Space, but: int | None = None) -> set[str]:
    """The tables of all trials that are finished or running, without trial `but`."""
    state = import_optuna().trial.TrialState
    trials = study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED, state.RUNNING))
    return {str(_table(t.params, space)) for t in trials if t.number != but and _is_asked(t, space)}


def _is_asked(trial: Any, space: Space) -> bool:
    """Whether all heads of a trial have a view."""
    return len(trial.params) == space.layers * space.heads


def _train(study: Any, work: Work, batch: list[tuple[Any, ViewTable]], steering: Steering) -> None:
    """Train a batch and report to the study. If runs may be pruned, the other seeds follow the first."""
    optuna, (first, *others) = import_optuna(), work.question.all_seeds
    found: dict[int, list[tuple[Job, Outcome]]] = {trial.number: [] for trial, _ in batch}
    left = batch
    with beating(study, [trial for trial, _ in batch]):
        for seeds in [[first], others] if steering.prune and others else [[first, *others]]:
            jobs = [(trial, _job(study, work, trial, table, seed, steering)) for trial, table in left for seed in seeds]
            for (trial, job), outcome in zip(jobs, work.runner.do([job for _, job in jobs]), strict=True):
                found[trial.number].append((job, outcome))
            left = [(trial, table) for trial, table in left if not found[trial.number][0][1].stopped]
    for trial, table in batch:
        own = found[trial.number]
        try:
            trial.set_user_attr("cost", sum(cost_in_runs(outcome, work.recipe.train.epochs) for _, outcome in own))
            if own[0][1].stopped:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            scores = [work.score(job, outcome) for job, outcome in own]
            trial.set_user_attr("scores", scores)
            mean = statistics.fmean(scores)
            study.tell(trial, [mean, float(work.space.cost(table))] if steering.with_cost else mean)
        except optuna.exceptions.UpdateFinishedTrialError:  # this machine was silent for long, and another took over
            continue


def _job(study: Any, work: Work, trial: Any, table: ViewTable, seed: int, steering: Steering) -> Job:
    job = _candidate(work, table, trial.number).job(work.runs, seed)
    if not steering.prune or seed != work.recipe.train.seed:
        return job
    watch = Watch(storage_url(work), study.study_name, trial._trial_id, f"val_{work.recipe.monitor}")
    return replace(job, watch=watch)


def cost_in_runs(outcome: Outcome, epochs: int) -> float:
    """The cost of a run: 1, or the share of its epochs (counted from 1) after which it was pruned."""
    return float(outcome.summary["epoch"]) / epochs if outcome.stopped else 1.0


def _candidate(work: Work, table: ViewTable, number: int) -> Candidate:
    return Candidate(table=table, names=(f"{work.question.method} {number}",), recipe=with_table(work.recipe, table))


def _hand_made(work: Work, cross: float, seed: int) -> Iterator[ViewTable]:
    try:
        yield from strategies(work.space, work.limit, cross=cross, seed=seed).values()
    except SearchError:
        return  # only other tables can be within this budget


def _names(space: Space) -> list[str]:
    return [f"{layer}.{head}" for layer in range(space.layers) for head in range(space.heads)]


def _parameters(table: ViewTable) -> dict[str, str]:
    return {
        f"{number}.{head}": str(view)
        for number, layer in enumerate(table.layers)
        for head, view in enumerate(layer.heads)
    }


def _table(parameters: Mapping[str, str], space: Space) -> ViewTable:
    return table_of([View(parameters[name]) for name in _names(space)], space)


def _canonical(table: ViewTable, space: Space) -> ViewTable:
    """The same table with each layer's heads in the order of the space's views."""
    rows = (tuple(sorted(layer.heads, key=space.views.index)) for layer in table.layers)
    return ViewTable(tuple(LayerViews(space.modalities, row) for row in rows))


def _within(table: ViewTable, work: Work, seed: int) -> ViewTable:
    """Bring a table within the budget: heads drawn at random get the cheapest view."""
    order = list(range(work.space.layers * work.space.heads))
    random.Random(seed).shuffle(order)
    return _canonical(within(table, work.space, work.limit, order), work.space)
