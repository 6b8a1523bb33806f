"""`train.refit`: the model that is kept has seen the validation split too, for as long as that split chose."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from locomt.cli.main import main
from locomt.data import ManifestDataset, label_list
from locomt.search.budget import Budget, SearchError
from locomt.search.question import Question
from locomt.train.config import RecipeError, TrainConfig
from locomt.train.evaluation import Run, evaluate
from locomt.train.fitting import fit
from locomt.train.module import FusionModule
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe
from locomt.train.refit import refit_recipe
from locomt.train.run_directory import RunDirectory
from locomt.train.standards import Moments

Row = Mapping[str, float | None]
CHANGES = ["--train.refit", "true", "--train.epochs", "3", "--data.modalities.motion.standardise", "true"]


class StopTrainingError(Exception):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, RunDirectory, dict[str, Any], list[Row]]:
    """A recipe, its refitted run, the summary and what was told of the second training."""
    from feature_project import make_project

    root = tmp_path_factory.mktemp("refit")
    recipe = load_recipe(make_project(root / "project"), CHANGES)
    rows: list[Row] = []
    summary = fit(recipe, root / "run", on_refit=lambda row, _: rows.append(row))
    return recipe, RunDirectory(root / "run"), summary, rows


def test_it_has_the_epochs_that_validation_chose(whole: tuple[Recipe, RunDirectory, dict[str, Any], list[Row]]) -> None:
    _, run, summary, rows = whole
    assert (
        summary["refit"]
        == summary["epoch"]
        == len(rows)
        == RunDirectory(run.path / "refit").read_history()[-1]["epoch"]
    )
    assert rows[-1]["step"] == len(rows) * 4  # 18 samples, where 12 took 3 steps an epoch
    assert rows[-1]["learning_rate"] == pytest.approx(0)
    assert "val_loss" not in rows[-1]
    assert run.read_history()[summary["refit"] - 1].items() <= summary.items()
    assert run.read_summary() == summary


def test_what_is_learned_of_samples_is_that_of_both_splits(
    whole: tuple[Recipe, RunDirectory, dict[str, Any], list[Row]],
) -> None:
    recipe, run, _, _ = whole
    both = ManifestDataset(recipe.data, ("train", "val"), label_list(recipe.data))
    assert len(both) == 18
    moments = Moments(6)
    for index in range(len(both)):
        found = both.modality(index, "motion")
        assert found is not None
        moments.add(found)
    kept = Run.load(run.path).model.embeddings["motion"].standard.mean
    assert torch.allclose(kept.double(), moments.mean, atol=1e-6)
    first = torch.load(run.best, weights_only=True)["state_dict"]["model.embeddings.motion.standard.mean"]
    assert not torch.allclose(first.double(), moments.mean, atol=1e-3)


def test_what_validation_decided_is_kept(
    make_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(make_project(), CHANGES)
    used: list[list[tuple[int, float]]] = []
    count = FusionModule._weight_of_parts

    def weight(module: FusionModule) -> float:
        if module.training:
            used[-1].append((module.current_epoch, count(module)))
        return count(module)

    def begin(module: FusionModule) -> None:
        used.append([])

    monkeypatch.setattr(FusionModule, "_weight_of_parts", weight)
    monkeypatch.setattr(FusionModule, "on_train_start", begin)
    summary = fit(recipe, tmp_path / "run")
    first, second = (dict(one) for one in used)
    assert all(second[epoch] == first[epoch] for epoch in range(1, summary["refit"]))
    best = torch.load(RunDirectory(tmp_path / "run").best, weights_only=True)
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config.get("shares", {}) == pytest.approx(best["shares"])
    assert config.get("apart", False) == best["apart"]


def stop_at(phase: str, epoch: int, recipe: Recipe, run: Path, *, resume: bool = False) -> None:
    def stop(row: Row, *_: int) -> None:
        if row["epoch"] == epoch:
            raise StopTrainingError

    with pytest.raises(StopTrainingError):
        fit(recipe, run, resume=resume, **{phase: stop})


def test_it_goes_on_wherever_it_was_stopped(
    whole: tuple[Recipe, RunDirectory, dict[str, Any], list[Row]], tmp_path: Path
) -> None:
    recipe, run, summary, _ = whole
    stop_at("on_epoch", 2, recipe, tmp_path / "run")  # amid the first training
    stop_at("on_epoch", 3, recipe, tmp_path / "run", resume=True)  # at its end
    stop_at("on_refit", 1, recipe, tmp_path / "run", resume=True)  # amid the second
    stop_at("on_refit", summary["refit"], recipe, tmp_path / "run", resume=True)  # at its end, before the export
    assert not RunDirectory(tmp_path / "run").finished
    again = fit(recipe, tmp_path / "run", resume=True)
    weights, wanted = (load_file(path / "model" / "model.safetensors") for path in (tmp_path / "run", run.path))
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert again["refit"] == summary["refit"]
    assert (tmp_path / "run" / "model" / "config.json").read_bytes() == (run.model / "config.json").read_bytes()


def test_steps_within_an_epoch_go_on_too(
    whole: tuple[Recipe, RunDirectory, dict[str, Any], list[Row]], tmp_path: Path
) -> None:
    recipe, run, summary, _ = whole
    often = replace(recipe, train=replace(recipe.train, checkpoint_minutes=1e-9))
    steps = summary["refit"] * 4
    taken: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        taken.append((done, total))
        if total == steps and done == 2:
            raise StopTrainingError

    with pytest.raises(StopTrainingError):
        fit(often, tmp_path / "run", on_step=stop)
    fit(often, tmp_path / "run", resume=True)
    weights, wanted = (load_file(path / "model" / "model.safetensors") for path in (tmp_path / "run", run.path))
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("task", ["multilabel", "ordinal", "regression"])
def test_other_tasks(make_project: Callable[..., Path], tmp_path: Path, task: str) -> None:
    recipe = load_recipe(make_project(task, optimizer="adamw", learning_rate=0.01), ["--train.refit", "true"])
    summary = fit(recipe, tmp_path / "run")
    assert summary["refit"] == summary["epoch"]
    assert evaluate(Run.load(tmp_path / "run"))["samples"] == 5


def test_scores_on_the_validation_split_are_said_to_be_none(
    whole: tuple[Recipe, RunDirectory, dict[str, Any], list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, run, _, _ = whole
    assert "caution" not in evaluate(Run.load(run.path))
    assert "trained on split 'val' too" in evaluate(Run.load(run.path), "val")["caution"]
    assert main(["evaluate", str(run.path), "--split", "val"]) == 0
    assert "caution: the model was trained on split 'val' too" in capsys.readouterr().err
    assert "trained on split &#39;val&#39; too" in (run.path / "report-val.html").read_text()


def test_the_schedule_is_that_of_so_many_epochs(recipe: Recipe) -> None:
    train = replace(recipe.train, epochs=20, warmup_epochs=5.0, patience=4, refit=True)
    short = refit_recipe(replace(recipe, train=train), 3).train
    assert (short.epochs, short.warmup_epochs, short.patience, short.refit) == (3, 3.0, 0, False)


def test_what_cannot_be_refitted_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.refit is for views that stay, and train.views is 'learned'"):
        TrainConfig(refit=True, views="learned", learn_views={"budget": 0.5})
    alone = replace(recipe, data=replace(recipe.data, val_split="none"), train=replace(recipe.train, refit=True))
    with pytest.raises(ValueError, match=r"no row has split 'none' \(data.val_split, which train.refit goes by\)"):
        fit(alone, tmp_path / "run")
    refitted = replace(recipe, train=replace(recipe.train, refit=True))
    with pytest.raises(SearchError, match=r"train.refit: tables are told apart by validation"):
        Question(recipe=refitted, budget=Budget.parse("0.5"))
