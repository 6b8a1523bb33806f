"""A tiny model learns when things happen, and what the commands say of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from event_project import EVENTS, make_events
from feature_project import read_rows, write_manifest
from locomt.cli.main import main
from locomt.compare.compare import all_models, model_recipe
from locomt.compare.majority import majority
from locomt.data import label_list
from locomt.train import Run, TrainConfig, evaluate, fit, load_recipe, predict


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_events(tmp_path_factory.mktemp("events"), {"train": 32, "val": 8, "test": 8}, epochs=20)


@pytest.fixture(scope="module")
def trained(project: Path) -> tuple[dict[str, Any], Run]:
    summary = fit(load_recipe(project), project.parent / "run")
    return summary, Run.load(project.parent / "run")


def test_a_tiny_model_learns_events(trained: tuple[dict[str, Any], Run], project: Path) -> None:
    summary, run = trained
    assert summary["monitor"] == "val_mAP"
    assert run.labels == ("bell", "knock")
    result = evaluate(run)
    assert result["metrics"]["mAP"] > 0.95
    assert result["metrics"]["event_f1"] > 0.8
    assert [entry["events"] for entry in result["per_class"].values()] == [8, 8]
    constant = majority(run.recipe.data, label_list(run.recipe.data))
    assert constant["mAP"] < 0.5
    assert constant["event_f1"] in (0, None)


def test_events_of_files(trained: tuple[dict[str, Any], Run], project: Path) -> None:
    _, run = trained
    rows = [row for row in read_rows(project.parent) if row["split"] == "test"]
    items = [{name: str(project.parent / row[name]) for name in ("fine", "coarse")} for row in rows]
    answers = predict(run, items)
    for row, answer in zip(rows, answers, strict=True):
        assert list(answer) == ["file", "events", "missing", "why"]
        assert answer["missing"] == ["title"]
        starts = [event["start"] for event in answer["events"]]
        assert starts == sorted(starts)
        ends = 1.2 if row["id"] in ("test3", "test7") else 2.0
        for event in answer["events"]:
            assert event["label"] in EVENTS
            assert 0 <= event["start"] < event["end"] <= ends + 1e-6
            assert 0.5 <= event["score"] <= 1
    found = {event["label"]: event for event in answers[0]["events"]}
    for cell in rows[0]["label"].split(";"):
        name, times = cell.split("@")
        start, end = map(float, times.split("-"))
        assert found[name]["start"] == pytest.approx(start, abs=0.2)
        assert found[name]["end"] == pytest.approx(end, abs=0.3)


def test_the_commands(
    trained: tuple[dict[str, Any], Run], project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = str(project.parent / "run")
    assert main(["evaluate", run, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(json.dumps(evaluate(trained[1])))
    assert main(["evaluate", run]) == 0
    assert "event_f1" in capsys.readouterr().out
    file = str(project.parent / "test0_fine.npy")
    item = f"fine={file}"
    assert main(["predict", run, item, "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer == json.loads(json.dumps(predict(trained[1], [{"fine": file}])))[0]
    assert main(["predict", run, item]) == 0
    table = capsys.readouterr().out
    assert "start" in table
    assert f"{answer['events'][0]['end']:.4f}" in table
    assert main(["evaluate", run, "--data.smooth", "9"]) == 0  # longer than any event
    assert " 0.0000" in capsys.readouterr().out
    assert main(["predict", run, "title=nothing to be timed"]) == 2
    assert "expected one or more of coarse, fine, which have a time axis" in capsys.readouterr().err
    assert main(["cost", str(project), "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    head = 2 * 20 * 16 * 2 + 2 * 20 * (20 + 10) * 16  # the classifier, and the shares of 20 + 10 tokens
    assert {model["head_gflops"] for model in models.values()} == {head / 1e9}


def test_augmentation_balancing_and_a_modality_that_is_lacking(project: Path, tmp_path: Path) -> None:
    path = make_events(
        tmp_path / "small", {"train": 8, "val": 4}, epochs=1, sampling="balanced", augment={"drop_modality": 0.5}
    )
    rows = read_rows(path.parent)
    rows[0]["fine"] = ""
    rows[1]["fine"] = rows[1]["coarse"] = ""
    rows[2]["label"] = ";"
    rows[3]["label"] = "knock@1-0.5"
    write_manifest(path.parent, rows)
    summary = fit(load_recipe(path, ["--data.max_bad", "0.3"]), tmp_path / "run")
    assert summary["train_loss"] > 0
    lines = map(json.loads, (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines())
    reasons = {
        "train1": "the events belong to the time of coarse and fine, which the row lacks",
        "train3": "event 'knock@1-0.5': expected it to end after it starts, at 1 s",
    }
    found = {line["id"]: line["reason"] for line in lines}
    assert found
    assert found.items() <= reasons.items()  # the balanced draws need not take both


def test_what_does_not_fit(project: Path) -> None:
    recipe = load_recipe(project)
    assert all_models(recipe) == ("locomt", "selfall", "multiall", "mbt", "coarse", "fine")
    assert model_recipe(recipe, "fine").fusion_config(EVENTS).pace == {"fine": 1.0}
    with pytest.raises(ValueError, match="expected a modality with a time axis"):
        model_recipe(recipe, "title")
    with pytest.raises(ValueError, match=r"train.augment.mixup: the events of a temporal task are not mixed"):
        replace(recipe.only("fine"), train=TrainConfig(augment={"mixup": 0.3}))
    with pytest.raises(ValueError, match="a temporal run knows mAP, event_f1, loss, got 'accuracy'"):
        load_recipe(project, ["--train.monitor", "accuracy"])
