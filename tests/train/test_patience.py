"""Runs that end because no epoch gets better any more: when, and all the same where they were interrupted."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import feature_project
from locomt.train import fit, load_recipe
from locomt.train.bad import BadSampleLog
from locomt.train.epoch_keeper import EpochKeeper
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory

EPOCHS, PATIENCE = 12, 2


class PowerCut(BaseException):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """It is soon at its best: the rate is high."""
    options = {"epochs": EPOCHS, "learning_rate": 0.5, "patience": PATIENCE}
    return load_recipe(feature_project.make_project(tmp_path_factory.mktemp("patient"), **options))


@pytest.fixture(scope="module")
def stopped(patient: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that ended early, and its summary."""
    run = tmp_path_factory.mktemp("runs") / "stopped"
    return run, fit(patient, run)


def outcome(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    rows = RunDirectory(run).read_history()
    return (run / "model" / "model.safetensors").read_bytes(), [{**row, "seconds": None} for row in rows]


@pytest.mark.parametrize(
    ("patience", "losses", "goes_on"),
    [
        (0, [1.0, 2.0, 3.0, 4.0], True),
        (1, [], True),
        (1, [1.0], True),
        (1, [1.0, 0.9], True),
        (1, [1.0, 1.0], False),  # as good is no better
        (3, [1.0, 2.0, 2.0], True),
        (3, [1.0, 2.0, 1.5, 1.2], False),
        (3, [1.0, 2.0, 1.5, 0.9], True),
        (3, [1.0, 2.0, 0.5, 0.9, 0.8], True),
        (3, [1.0, 2.0, 0.5, 0.9, 0.8, 0.7], False),
    ],
)
def test_when_it_stops(make_project: Callable[..., Path], patience: int, losses: list[float], goes_on: bool) -> None:
    recipe = load_recipe(make_project(monitor="loss", patience=patience))
    keeper = EpochKeeper(RunDirectory(Path("run")), recipe, BadSampleLog({}, 0))
    keeper.rows = [{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate(losses, start=1)]
    assert keeper.patient == goes_on


def test_epochs_before_the_learned_table_is_fixed_do_not_count(make_project: Callable[..., Path]) -> None:
    recipe = load_recipe(make_project(epochs=10, monitor="loss", patience=2, views="learned"))
    keeper = EpochKeeper(RunDirectory(Path("run")), recipe, BadSampleLog({}, 0))
    searching = recipe.searching_epochs
    assert searching > 2
    patient = []
    for epoch in range(searching + 3):
        keeper.rows.append({"epoch": epoch + 1, "val_loss": float(epoch)})
        patient.append(keeper.patient)
    assert patient == [*[True] * (searching + 2), False]


def test_a_run_is_the_beginning_of_one_that_does_not_stop(
    patient: Recipe, stopped: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run, summary = stopped
    _, rows = outcome(run)
    assert summary["stopped"] == len(rows) == summary["epoch"] + PATIENCE < EPOCHS
    assert fit(patient, run, resume=True) == summary
    endless = load_recipe(run / "config.yaml", ["--train.patience", "0"])
    whole = fit(endless, tmp_path / "whole")
    assert "stopped" not in whole
    assert outcome(tmp_path / "whole")[1][: len(rows)] == rows
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == summary["epoch"] - 1


@pytest.mark.parametrize("kind", ["amid the last epoch", "after the last epoch"])
def test_an_interrupted_run_stops_after_the_same_epoch(
    kind: str, patient: Recipe, stopped: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    whole, summary = stopped
    steps = 3 * summary["stopped"] - 1
    always = replace(patient, train=replace(patient.train, checkpoint_minutes=1e-9))

    def on_step(done: int, total: int) -> None:
        if kind == "amid the last epoch" and done == steps:
            raise PowerCut

    def on_epoch(row: Mapping[str, float | None]) -> None:
        if kind == "after the last epoch" and row["epoch"] == summary["stopped"]:
            raise PowerCut

    with pytest.raises(PowerCut):
        fit(always, tmp_path / "cut", on_step=on_step, on_epoch=on_epoch)
    assert not RunDirectory(tmp_path / "cut").finished
    assert fit(always, tmp_path / "cut", resume=True)["stopped"] == summary["stopped"]
    assert outcome(tmp_path / "cut") == outcome(whole)


def test_without_a_validation_split_it_is_refused_before_training(project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(project, ["--train.patience", "2", "--data.val_split", "none"])
    line = "no row has split 'none' (data.val_split, which train.patience goes by)"
    with pytest.raises(ValueError, match=re.escape(line)):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
