"""Searches that Optuna steers and that are killed, wherever it may be: they go on to the same tables."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage

import forks
from feature_project import LABELS, make_project
from locomt.cli.main import main
from locomt.search.budget import Budget
from locomt.search.ledger import read_results
from locomt.search.question import Question
from locomt.search.search import search
from locomt.train import load_recipe
from locomt.train.runs import Runner, do
from quick_runs import quick_fit

EPOCHS = 3
CHANGES = (
    *("create_new_trial", "set_trial_param", "set_trial_user_attr", "set_trial_system_attr", "set_study_system_attr"),
    *("set_trial_state_values", "set_trial_intermediate_value", "record_heartbeat"),
)
"""What is called whenever a study changes."""


class Killed(BaseException):
    """Stands for whatever ends a process."""


class Clock:
    """Ends the process at the next change of its files when its time is up."""

    left: float = float("inf")
    passed = 0

    def tick(self) -> None:
        self.passed += 1
        self.left -= 1
        if self.left <= 0:
            self.left = float("inf")
            raise Killed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Runs that take no time, and whatever is put down of them and in the study on a clock."""
    clock = Clock()

    def do_jobs(self: Runner, jobs: Any, on_done: Callable[..., object] = lambda job, outcome: None) -> list[Any]:
        outcomes = [do(job) for job in jobs]
        for job, outcome in zip(jobs, outcomes, strict=True):
            on_done(job, outcome)
        return outcomes

    monkeypatch.setattr("locomt.train.fitting.fit", quick_fit(LABELS, clock.tick))
    monkeypatch.setattr(Runner, "do", do_jobs)
    monkeypatch.setattr("locomt.search.report.write_report", lambda *_, **__: None)
    studies: dict[str, Memory] = {}

    def storage(url: str, **options: Any) -> Memory:
        return studies.setdefault(url, Memory())

    monkeypatch.setattr("optuna.storages.RDBStorage", storage)
    monkeypatch.setattr("optuna.storages.get_storage", lambda found: storage(found) if type(found) is str else found)
    for name in CHANGES:
        monkeypatch.setattr(Memory, name, ticking(getattr(Memory, name), clock))
    return clock


class Memory(InMemoryStorage):
    """A database that takes no time either, and outlives the processes that stop here."""

    def record_heartbeat(self, trial_id: int) -> None:
        pass


def ticking(function: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        clock.tick()
        return found

    return call


def plan(folder: Path, method: str, **options: Any) -> Question:
    wider = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", str(EPOCHS))
    recipe = load_recipe(make_project(folder, unimodal_loss=0.0), wider)
    return Question(recipe=recipe, budget=Budget.parse("0.9"), method=method, one_way=True, **options)


def outcome(document: dict[str, Any]) -> Any:
    """All but what the tables are called: trials of which nothing came are counted."""
    tables = {entry["views"]: {**entry, "names": 0, "runs": len(entry["runs"])} for entry in document["tables"]}
    return tables, document["training_runs"], document["chosen"]["views"]


def order(document: dict[str, Any]) -> list[str]:
    """The tables in the order of their trials."""
    return [entry["views"] for entry in sorted(document["tables"], key=lambda entry: int(entry["names"][0].split()[1]))]


@pytest.mark.parametrize("method", ["evolutionary", "bayesian"])
@pytest.mark.parametrize(("at_once", "seeds"), [(1, 1), (2, 2)])
def test_killed_again_and_again(clock: Clock, tmp_path: Path, method: str, at_once: int, seeds: int) -> None:
    wanted = plan(tmp_path / "project", method, tables=14, seeds=seeds)
    whole = search(wanted, tmp_path / "whole", Runner(at_once=at_once))
    gaps, deaths = random.Random(f"{method} {at_once}"), 0
    while True:
        clock.left = gaps.randint(3, 90)
        try:
            document = search(wanted, tmp_path / "killed", Runner(at_once=at_once))
        except Killed:
            deaths += 1
        else:
            break
    assert deaths > 5
    assert outcome(document) == outcome(whole)
    assert order(document) == order(whole)
    assert not list((tmp_path / "killed").rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_command_that_is_killed(tmp_path: Path) -> None:
    wanted = plan(tmp_path / "project", "bayesian", tables=4)
    fields = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", str(EPOCHS))
    command = ["search", str(tmp_path / "project" / "clips.yaml"), *fields, "--budget", "0.9", "--method", "bayesian"]
    command += ["--tables", "4", "--one-way", "--out", str(tmp_path / "killed")]
    with forks.start("-m", "locomt", *command) as process:
        while len(list((tmp_path / "killed" / "runs").glob("*/seed-0/metrics.csv"))) < 2:
            assert process.poll() is None
            time.sleep(0.05)
    assert main(command) == 0
    whole = search(wanted, tmp_path / "whole")
    killed = read_results(tmp_path / "killed" / "results.json")
    assert outcome(killed) == outcome(whole)
    assert order(killed) == order(whole)
    assert not list((tmp_path / "killed").rglob(".*"))
