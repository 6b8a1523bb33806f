"""Searches that Optuna steers: what is proposed, kept, pruned, resumed and shared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from search_spaces import make_space

from feature_project import make_project
from locomt.cli.main import main
from locomt.search.budget import Budget, SearchError
from locomt.search.results import read_results
from locomt.search.run import search
from locomt.search.sampled import STARTUP, STORAGE, Watch, _canonical, _parameters, _table, cost_in_runs
from locomt.search.wanted import Search
from locomt.train import load_recipe
from locomt.train.jobs import Job, Outcome, do
from locomt.views import ViewTable

WIDER = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", "1")
METHODS = ("evolutionary", "bayesian")
Made = dict[str, tuple[Search, Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("sampled")
    recipe = load_recipe(make_project(folder / "project"), WIDER)
    found: Made = {}
    for name in METHODS:
        plan = Search(recipe=recipe, budget=Budget.parse("0.52"), method=name, tables=5)
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
        search(plan, tmp_path / "out", on_run=stop)
    seen: list[str] = []
    again = search(plan, tmp_path / "out", on_run=lambda job, outcome: seen.append(job.label))
    assert {entry["views"]: entry["mean"] for entry in again["tables"]} == {
        entry["views"]: entry["mean"] for entry in document["tables"]
    }
    assert again["training_runs"] == document["training_runs"]
    assert len(seen) == 3  # the two that were told are not done again, the one that was cut off is


def test_machines_share_a_storage(made: Made, tmp_path: Path) -> None:
    plan, _, _ = made["bayesian"]
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    here = search(replace(plan, tables=2, storage=url), tmp_path / "here")
    seen: list[str] = []
    there = search(
        replace(plan, tables=3, storage=url), tmp_path / "there", on_run=lambda job, _: seen.append(job.label)
    )
    assert len(seen) == 1  # the others are known from the first machine
    assert {entry["views"] for entry in here["tables"]} <= {entry["views"] for entry in there["tables"]}
    assert not (tmp_path / "there" / STORAGE).exists()


def test_a_run_that_falls_behind_is_given_up(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path / "project"), (*WIDER[:-1], "4"))
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
    make_project(tmp_path / "project")
    assert main(line) == 2
    assert "takes no option 'storage'; it is for evolutionary, bayesian" in capsys.readouterr().err


def test_the_document_is_json(made: Made) -> None:
    for _, out, document in made.values():
        assert read_results(out / "results.json") == document
