"""Searches that Optuna steers: what is proposed, kept, pruned, resumed and shared."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from feature_project import LABELS, make_project
from locomt.cli.main import main
from locomt.search.budget import Budget, SearchError
from locomt.search.ledger import read_results
from locomt.search.optuna import proposals
from locomt.search.optuna import study as study_of_search
from locomt.search.optuna.proposals import _canonical, _parameters, _table, cost_in_runs
from locomt.search.optuna.study import GRACE, STARTUP, STORAGE, Watch, beating
from locomt.search.question import Question
from locomt.search.search import search
from locomt.train import load_recipe
from locomt.train.fitting import fit
from locomt.train.runs import Job, Outcome, Runner, do
from locomt.views import ViewTable
from quick_runs import quick_fit
from search_spaces import make_space

WIDER = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", "1")
METHODS = ("evolutionary", "bayesian")
Made = dict[str, tuple[Question, Path, dict[str, Any]]]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """What is proposed, kept and shared hangs by the scores alone, whatever they come from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("locomt.train.fitting.fit", quick_fit(LABELS))
        patch.setattr("locomt.search.report.write_report", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("sampled")
    recipe = load_recipe(make_project(folder / "project", unimodal_loss=0.0), WIDER)
    found: Made = {}
    for name in METHODS:
        plan = Question(recipe=recipe, budget=Budget.parse("0.52"), method=name, tables=5)
        found[name] = plan, folder / name, search(plan, folder / name)
    return found


@pytest.mark.parametrize("name", METHODS)
def test_so_many_different_tables_within_the_budget(made: Made, name: str) -> None:
    _, _, document = made[name]
    tables = document["tables"]
    pruned = document["training_runs"] - sum(entry["training_runs"] for entry in tables)
    assert len(tables) + round(pruned) == 5  # of one epoch each, so that a pruned run is a whole one
    assert len({entry["views"] for entry in tables}) == len(tables)
    for entry in tables:
        assert entry["share"] <= 0.52
        assert entry["names"][0].startswith(name)
        table = ViewTable.parse(entry["views"], ("motion", "sound"))
        for layer in table.layers:  # heads of a layer are exchangeable: one order stands for all
            assert [view.text for view in layer.heads] == sorted(
                (view.text for view in layer.heads), key=("self", "motion~sound").index
            )


@pytest.mark.parametrize("name", METHODS)
def test_the_hand_made_tables_come_first(made: Made, name: str) -> None:
    plan, out, document = made[name]
    hand_made = search(replace(plan, method="strategies", tables=None), out.parent / "hand-made")
    space_order = {"self": 0, "motion~sound": 1}

    def canonical(views: str) -> tuple[tuple[str, ...], ...]:
        table = ViewTable.parse(views, ("motion", "sound"))
        return tuple(
            tuple(sorted((v.text for v in layer.heads), key=space_order.__getitem__)) for layer in table.layers
        )

    first = {canonical(entry["views"]) for entry in hand_made["tables"]}
    # No more of them than are had whole before a run may be given up.
    assert len(first) <= STARTUP
    assert first <= {canonical(entry["views"]) for entry in document["tables"]}


def test_a_stopped_study_goes_on_with_what_it_would_have_done(made: Made, tmp_path: Path) -> None:
    plan, _, document = made["evolutionary"]

    def stop(job: Job, outcome: Outcome) -> None:
        if job.label.startswith("evolutionary 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(plan, tmp_path / "out", Runner(on_run=stop))
    seen: list[str] = []
    again = search(plan, tmp_path / "out", Runner(on_run=lambda job, outcome: seen.append(job.label)))
    assert {entry["views"]: entry["mean"] for entry in again["tables"]} == {
        entry["views"]: entry["mean"] for entry in document["tables"]
    }
    assert again["training_runs"] == document["training_runs"]
    assert len(seen) == 3  # the two that were told are not done again, the one that was cut off is


@pytest.mark.parametrize("name", METHODS)
def test_when_there_are_no_more_tables_the_search_ends(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "TRIES", 10)
    recipe = load_recipe(
        make_project(tmp_path / "project", unimodal_loss=0.0), ["--train.epochs", "1", "--model.fusion_layers", "1"]
    )
    assert recipe.model.num_heads == 2  # so that there are three tables
    found = search(Question(recipe=recipe, budget=Budget.parse("0.9"), method=name, tables=4), tmp_path / "out")
    assert len(found["tables"]) == 3


def test_other_data_are_another_study(made: Made, tmp_path: Path) -> None:
    plan, _, _ = made["bayesian"]
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    search(replace(plan, tables=1, storage=url), tmp_path / "here")
    moved = load_recipe(make_project(tmp_path / "moved", unimodal_loss=0.0), WIDER)
    manifest = Path(moved.data.manifest)

    def trained(out: str) -> list[str]:
        seen: list[str] = []
        other = replace(plan, recipe=moved, tables=1, storage=url)
        search(other, tmp_path / out, Runner(on_run=lambda job, outcome: seen.append(job.label)))
        return seen

    assert trained("there") == []  # the same samples, in another folder
    first, *rows = manifest.read_text().splitlines(keepends=True)
    manifest.write_text(first + "".join(rows[1:]))  # without one of training
    assert len(trained("fewer")) == 1


def test_machines_share_a_storage(made: Made, tmp_path: Path) -> None:
    plan, _, _ = made["bayesian"]
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    here = search(replace(plan, tables=2, storage=url), tmp_path / "here")
    seen: list[str] = []
    there = search(
        replace(plan, tables=3, storage=url), tmp_path / "there", Runner(on_run=lambda job, _: seen.append(job.label))
    )
    assert len(seen) == 1  # the others are known from the first machine
    assert {entry["views"] for entry in here["tables"]} <= {entry["views"] for entry in there["tables"]}
    assert not (tmp_path / "there" / STORAGE).exists()


def test_a_run_that_falls_behind_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locomt.train.fitting.fit", fit)  # a run that trains
    recipe = load_recipe(make_project(tmp_path / "project", unimodal_loss=0.0), (*WIDER[:-1], "4"))
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name="s", direction="maximize")
    for _ in range(4):  # trials than which nothing can be better
        trial = study.ask()
        for epoch in range(4):
            trial.report(2.0, epoch)
        study.tell(trial, 2.0)
    trial = study.ask()
    watch = Watch(url, "s", trial._trial_id, "val_accuracy")
    job = Job(label="slow", recipe=recipe, directory=tmp_path / "run", test=False, watch=watch)
    outcome = do(job)
    assert outcome.stopped
    assert outcome.summary["epoch"] < 3
    assert outcome.summary[outcome.summary["monitor"]] is not None  # as of a run that has finished
    assert not job.found
    assert cost_in_runs(outcome, 4) == outcome.summary["epoch"] / 4  # epochs count from 1
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + outcome.summary["epoch"]
    finished = do(replace(job, watch=None))  # it can go on
    assert not finished.stopped
    assert cost_in_runs(finished, 4) == 1
    assert job.found


def test_a_table_is_its_parameters() -> None:
    space = make_space({"a": 9, "b": 5, "c": 2}, heads=3, dim=9)
    table = ViewTable.parse("b~c:1 self:1 a~b:1\nself:3", space.modalities)
    assert _table(_parameters(table), space) == table
    assert str(_canonical(table, space)) == "self:1 a~b:1 b~c:1\nself:3"


def test_a_storage_that_cannot_be_used_is_told(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, _, _ = made["bayesian"]
    with pytest.raises(SearchError, match=r"storage 'sqlite:////nowhere/at/all.db' cannot be used"):
        search(replace(plan, storage="sqlite:////nowhere/at/all.db"), tmp_path / "out")
    line = [
        "search",
        str(tmp_path / "project" / "clips.yaml"),
        "--budget",
        "0.5",
        "--storage",
        "x",
        "--method",
        "random",
    ]
    make_project(tmp_path / "project", unimodal_loss=0.0)
    assert main(line) == 2
    assert "takes no option --storage; it is for evolutionary, bayesian" in capsys.readouterr().err


def test_the_document_is_json(made: Made) -> None:
    for _, out, document in made.values():
        assert read_results(out / "results.json") == document


def stop(job: Job, outcome: Outcome) -> None:
    raise KeyboardInterrupt


def test_what_other_machines_finish_meanwhile_is_told(made: Made, tmp_path: Path) -> None:
    plan = replace(made["evolutionary"][0], tables=3, storage=f"sqlite:///{tmp_path / 'shared.db'}")
    there: list[dict[str, Any]] = []

    def elsewhere(job: Job, outcome: Outcome) -> None:
        if not there:  # while the first table is trained here
            there.append(search(plan, tmp_path / "there"))

    here = search(plan, tmp_path / "here", Runner(on_run=elsewhere))
    assert len(there[0]["tables"]) == 2
    assert len(here["tables"]) == 3
    assert {entry["views"] for entry in there[0]["tables"]} < {entry["views"] for entry in here["tables"]}
    assert search(plan, tmp_path / "there")["tables"][0]["scores"] == here["tables"][0]["scores"]


def test_the_table_of_a_dead_machine_is_trained_by_another(made: Made, tmp_path: Path) -> None:
    plan, _, document = made["evolutionary"]
    plan = replace(plan, storage=f"sqlite:///{tmp_path / 'shared.db'}")
    with pytest.raises(KeyboardInterrupt):
        search(plan, tmp_path / "here", Runner(on_run=stop))
    with pytest.raises(SearchError, match="other machines are at work on all 1 tables"):
        search(replace(plan, tables=1), tmp_path / "there")
    with sqlite3.connect(tmp_path / "shared.db") as base:
        base.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', ?)", (f"-{GRACE + 60} seconds",))
    base.close()
    there = search(plan, tmp_path / "there")
    assert len(there["tables"]) == 5
    (first,) = (entry["views"] for entry in document["tables"] if "evolutionary 0" in entry["names"])
    assert first in {entry["views"] for entry in there["tables"] if entry["runs"]}


def test_a_table_that_kills_its_machines_is_given_up(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_of_search, "RETRIES", 0)
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    plan = replace(made["evolutionary"][0], tables=2, storage=url)
    with pytest.raises(KeyboardInterrupt):
        search(plan, tmp_path / "here", Runner(on_run=stop))
    with sqlite3.connect(tmp_path / "shared.db") as base:
        base.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', ?)", (f"-{GRACE + 60} seconds",))
    base.close()
    there = search(plan, tmp_path / "there")
    (name,) = optuna.get_all_study_names(url)
    first, *others = optuna.load_study(study_name=name, storage=url).get_trials()
    assert first.state == optuna.trial.TrialState.FAIL
    assert first.params not in [trial.params for trial in others]
    assert len(there["tables"]) == 2


def test_a_machine_that_wakes_too_late_leaves_its_table_to_others(made: Made, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    plan = replace(made["bayesian"][0], tables=2, storage=url)
    taken: list[int] = []

    def take(job: Job, outcome: Outcome) -> None:
        if taken:
            return
        (name,) = optuna.get_all_study_names(url)
        study = optuna.load_study(study_name=name, storage=url)
        (trial,) = study.get_trials(states=[optuna.trial.TrialState.RUNNING])
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        taken.append(trial.number)
        watch = Watch(url, name, trial._trial_id, "val_accuracy")
        assert watch({"epoch": 2, "val_accuracy": 1.0})  # a run of it that goes on is stopped

    names = [name for entry in search(plan, tmp_path / "out", Runner(on_run=take))["tables"] for name in entry["names"]]
    assert len(names) == 2
    assert f"bayesian {taken[0]}" not in names


def test_heartbeats_are_renewed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_of_search, "BEAT", 0.01)
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}")
    beaten: list[int] = []
    monkeypatch.setattr(study_of_search, "beat", lambda study, trial: beaten.append(trial.number))
    with beating(study, [study.ask(), study.ask()]):
        deadline = time.monotonic() + 10
        while len(beaten) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert beaten[:4] == [0, 1, 0, 1]


def test_other_seeds_are_for_tables_whose_first_run_is_not_given_up(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "__call__", lambda watch, row: watch.trial > 1)  # all but the first
    seen: list[tuple[str, bool]] = []
    plan = replace(made["bayesian"][0], tables=2, seeds=2)
    document = search(
        plan, tmp_path / "out", Runner(on_run=lambda job, outcome: seen.append((job.label, outcome.stopped)))
    )
    (entry,) = document["tables"]
    assert entry["seeds"] == [0, 1]
    assert [stopped for _, stopped in seen] == [False, False, True]
    assert [label.rpartition(" ")[2] for label, _ in seen] == ["0", "1", "0"]
    assert document["training_runs"] == 2 + 1
