"""Conversion of a dense model by attention mass, from a recipe or a finished run."""

import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from feature_project import make_project
from locomt.cli.main import main
from locomt.data import read_manifest
from locomt.search.budget import Budget, SearchError
from locomt.search.ledger import RESULTS, read_results
from locomt.search.methods.mass import MASS
from locomt.search.question import Question
from locomt.search.search import ANEW, CHOSEN, search
from locomt.train import Run, evaluate, load_recipe
from locomt.train.runs import Runner

pytestmark = pytest.mark.usefixtures("short_timing")
WIDER = ("--data.modalities.motion.max_length", "8", "--model.fusion_layers", "2", "--train.epochs", "2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("convert")
    recipe = load_recipe(make_project(folder / "project", unimodal_loss=0.0), WIDER)
    plan = Question(recipe=recipe, budget=Budget.parse("0.5"), method="mass", finetune=0.25)
    return plan, folder / "out", search(plan, folder / "out")


def test_the_chosen_table_is_fine_tuned_from_the_dense_model(made: tuple[Question, Path, dict[str, Any]]) -> None:
    _, out, document = made
    chosen = document["chosen"]
    assert chosen["share"] <= 0.5
    samples = read_results(out / RESULTS)["settings"]
    assert samples["train"]["epochs"] == 2
    count = sum(row.split == "train" for row in read_manifest(samples["data"]["manifest"]))
    assert chosen["training_runs"] == pytest.approx(0.25)
    assert document["training_runs"] == pytest.approx(1 + 0.25 + 1 / 6)  # mass: half of the forward pass of two epochs
    tuned = load_recipe(out / CHOSEN)
    dense = out / "runs" / "multiall" / "seed-0"
    assert (tuned.train.start, tuned.train.epochs) == (str(dense.absolute()), 1)
    assert tuned.train.epoch_samples == count // 2
    assert str(tuned.model.views) == chosen["views"]
    (folder,) = chosen["runs"]
    assert str(Run.load(folder).model.table) == chosen["views"]


def test_the_chosen_table_can_be_trained_anew(
    made: tuple[Question, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out, document = made
    anew = load_recipe(out / ANEW)
    model = replace(plan.recipe.model, views=document["chosen"]["views"], fusion="locomt")
    assert anew == replace(plan.recipe, model=model)
    line = ["--models", "locomt,mbt", "--seeds", "1", "--out", str(tmp_path / "out")]
    assert main(["compare", str(out / CHOSEN), *line]) == 2
    assert "of a search take anew.yaml" in capsys.readouterr().err
    assert main(["compare", str(out / ANEW), *line]) == 0


@pytest.mark.parametrize("method", ["mass", "learned"])
def test_without_a_solver_nothing_is_trained(
    made: tuple[Question, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ValueError, match=r"needs scipy: pip install 'locomt\[search\]'"):
        search(replace(made[0], method=method), tmp_path)
    assert not list(tmp_path.rglob("metrics.csv"))


def test_no_table_within_the_budget_keeps_more_mass(made: tuple[Question, Path, dict[str, Any]]) -> None:
    _, out, document = made
    (blocks,) = torch.tensor(json.loads((out / MASS).read_text())["blocks"])
    assert blocks.shape == (2, 2, 2, 2)
    torch.testing.assert_close(blocks.sum(-1), torch.ones(2, 2, 2))
    own = blocks.diagonal(dim1=-2, dim2=-1).mean(-1).flatten().tolist()  # a cross head keeps the rest
    # Below, 106 score pairs a self head and 90 a cross head, in the last layer 14 each; (2 * 196 + 2 * 28) / 2 = 224 in
    # all: one of the two below may be self, and both above.
    best = max(
        sum(share if is_self else 1 - share for share, is_self in zip(own, table, strict=True))
        for table in product((True, False), repeat=4)
        if sum(table[:2]) <= 1
    )
    assert document["chosen"]["mass_kept"] == pytest.approx(best / 4)


def test_the_score_before_fine_tuning_is_that_of_the_dense_weights(made: tuple[Question, Path, dict[str, Any]]) -> None:
    plan, out, document = made
    run = Run.load(out / "runs" / "multiall" / "seed-0")
    model = type(run.model)(replace(run.model.config, fusion="locomt", views=document["chosen"]["views"]))
    model.load_state_dict(run.model.state_dict())
    scores = evaluate(Run(run.path, plan.recipe, model.eval(), run.labels), "val", device="cpu")
    assert document["chosen"]["before_finetuning"] == scores["metrics"]["accuracy"]


def test_a_finished_run_is_converted_from_the_command_line(
    made: tuple[Question, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, document = made
    dense = out / "runs" / "multiall" / "seed-0"
    line = ["search", "--from", str(dense), "--method", "mass", "--finetune", "0.25", "--budget", "0.5", "--json"]
    assert main([*line, "--out", str(tmp_path / "converted")]) == 0
    converted = json.loads(capsys.readouterr().out)
    assert converted["training_runs"] == pytest.approx(0.25 + 1 / 6)
    assert converted["chosen"]["views"] == document["chosen"]["views"]
    assert converted["chosen"]["scores"] == document["chosen"]["scores"]


def test_models_of_several_seeds_have_a_table_each(made: tuple[Question, Path, dict[str, Any]], tmp_path: Path) -> None:
    plan, out, one = made
    document = search(replace(plan, seeds=2), tmp_path / "two")
    entries = {tuple(entry["names"]): entry for entry in document["tables"]}
    assert {names: entry["seeds"] for names, entry in entries.items()} == {("mass 0",): [0], ("mass 1",): [1]}
    assert entries["mass 0",]["scores"] == one["chosen"]["scores"]
    starts = [Path(entries[names]["start"]) for names in (("mass 0",), ("mass 1",))]
    assert starts == [tmp_path / "two" / "runs" / "multiall" / f"seed-{seed}" for seed in (0, 1)]
    assert document["training_runs"] == pytest.approx(2 * one["training_runs"])
    assert len(json.loads((tmp_path / "two" / MASS).read_text())["blocks"]) == 2
    # a model that is given has one table, tuned with both seeds
    given = search(replace(plan, seeds=2, source=out / "runs" / "multiall" / "seed-0"), tmp_path / "given")
    (entry,) = given["tables"]
    assert (entry["names"], entry["seeds"], entry["scores"][0]) == (["mass"], [0, 1], one["chosen"]["scores"][0])


def test_what_cannot_be_converted_is_told(
    made: tuple[Question, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, _, document = made
    (sparse,) = document["chosen"]["runs"]
    with pytest.raises(SearchError, match="expected a model of fusion 'multiall', got 'locomt'"):
        search(replace(plan, source=Path(sparse)), tmp_path)
    assert main(["search", "--budget", "0.5", "--method", "mass"]) == 2
    assert "expected a recipe, or a finished run to begin with" in capsys.readouterr().err


@pytest.mark.parametrize("method", [("mass",), ("elastic", "--tables", "3")], ids=lambda method: method[0])
def test_a_model_of_another_size_is_told_before_anything_is_trained(
    made: tuple[Question, Path, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    method: tuple[str, ...],
) -> None:
    dense = made[1] / "runs" / "multiall" / "seed-0"
    line = ["search", "--from", str(dense), "--budget", "0.9", "--method", *method, "--out", str(tmp_path / "out")]
    for option, value, told in (
        ("--model.heads", "4", "the model has heads 2, the recipe asks for 4"),
        ("--model.fusion_layers", "1", "the model has fusion_layers 2, the recipe asks for 1"),
        ("--data.modalities.sound.max_length", "6", "the model has modalities.sound.max_length 4"),
    ):
        assert main([*line, option, value]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*line, "--finetune", "0.5", "--model.dropout", "0.1"]) == 0  # the weights are the same


@pytest.mark.parametrize("method", ["mass", "elastic", "evolutionary"])
def test_a_search_may_be_moved_with_its_data(method: str, tmp_path: Path) -> None:
    """Nothing it left names where it was, and the same search there finds everything done."""
    (tmp_path / "here").mkdir()
    config = make_project(tmp_path / "here" / "project", unimodal_loss=0.0)

    def run(place: Path) -> tuple[list[str], dict[str, Any]]:
        seen: list[str] = []
        recipe = load_recipe(place / config.relative_to(tmp_path / "here"), WIDER)
        options: dict[str, Any] = {"finetune": 0.5} if method == "mass" else {"tables": 3}
        plan = Question(recipe=recipe, budget=Budget.parse("0.5"), method=method, **options)
        document = search(
            plan, place / "out", Runner(on_run=lambda job, outcome: seen.append(job.label) if outcome.seconds else None)
        )
        return seen, document

    trained, before = run(tmp_path / "here")
    assert trained
    kept = [path for path in (tmp_path / "here" / "out").rglob("*") if path.suffix in (".json", ".yaml", ".csv")]
    assert not [path for path in kept if str(tmp_path) in path.read_text()]
    (tmp_path / "here").rename(tmp_path / "there")
    trained, after = run(tmp_path / "there")
    assert trained == []
    assert [entry["scores"] for entry in after["tables"]] == [entry["scores"] for entry in before["tables"]]
    assert after["chosen"]["views"] == before["chosen"]["views"]
