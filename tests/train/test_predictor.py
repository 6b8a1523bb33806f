"""A model's folder answers by itself as its run does, with nothing else at hand, and says what it lacks."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import event_project
import feature_project
from locomt import FusionModel, from_pretrained
from locomt.cli.main import main
from locomt.train import Run, fit, load_recipe, predict
from text_encoders import save_encoder


def moved(run: Path, folder: Path) -> Path:
    """The model alone, elsewhere; all that it was made of is gone."""
    shutil.move(run / "model", folder / "alone")
    for path in folder.iterdir():
        if path.name != "alone" and path.is_dir():
            shutil.rmtree(path)
    return folder / "alone"


def kept(project: Path, folder: Path) -> dict[str, Path]:
    """The first test sample's features, out of the project."""
    (row,) = [row for row in feature_project.read_rows(project) if row["id"] == "test1"]
    return {name: Path(shutil.copy(project / cell, folder)) for name, cell in row.items() if cell.endswith(".npy")}


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "ordinal", "regression", "temporal"])
def test_answers_are_those_of_the_run(tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "project"
    if task == "temporal":
        recipe = load_recipe(event_project.make_events(project, {"train": 4, "val": 2, "test": 2}, epochs=1))
    else:
        recipe = load_recipe(feature_project.make_project(project, task, epochs=1))
    fit(recipe, tmp_path / "run")
    files = kept(project, tmp_path)
    items: list[Any] = [files, {next(iter(files)): next(iter(files.values()))}]
    expected = predict(Run.load(tmp_path / "run"), items)
    alone = moved(tmp_path / "run", tmp_path)
    model = from_pretrained(alone)
    assert repr(model) == f"Predictor({str(alone)!r}, {task} of {', '.join(recipe.data.modalities)})"
    assert model.predict(items) == expected
    capsys.readouterr()
    words = ",".join(f"{name}={file}" for name, file in files.items())
    assert main(["predict", str(alone), words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == model.predict(files)  # of a batch of two the last digits differ
    assert main(["predict", str(alone), words, "--budget", "0.5"]) == 2
    assert "is a model by itself" in capsys.readouterr().err


def test_standards_views_and_crops_go_along(tmp_path: Path) -> None:
    path = feature_project.make_project(tmp_path / "project", epochs=1)
    recipe = load_recipe(path, "--data.modalities.motion.standardise true --train.views learned --train.epochs 2")
    fit(recipe, tmp_path / "run")
    expected = predict(Run.load(tmp_path / "run"), files := kept(tmp_path / "project", tmp_path))
    assert from_pretrained(moved(tmp_path / "run", tmp_path)).predict(files) == expected


def test_a_tokenizer_goes_along(tmp_path: Path) -> None:
    project = tmp_path / "project"
    path = feature_project.make_project(project, epochs=1)
    save_encoder("bert", tmp_path / "encoder")
    rows = [{**row, "title": f"the arrow points {row['label']}"} for row in feature_project.read_rows(project)]
    feature_project.write_manifest(project, rows)
    values = yaml.safe_load(path.read_text())
    values["data"]["modalities"]["title"] = {
        "kind": "text", "column": "title", "max_length": 6, "encoder": str(tmp_path / "encoder")
    }  # fmt: skip
    path.write_text(yaml.safe_dump(values))
    fit(load_recipe(path), tmp_path / "run")
    item = {"title": "the arrow points up"}
    expected = predict(Run.load(tmp_path / "run"), item)
    alone = moved(tmp_path / "run", tmp_path)
    assert not (tmp_path / "encoder").exists()
    model = from_pretrained(alone)
    assert model.predict(item) == expected
    assert model.predict({"title": "left left"}) != expected
    for file in alone.rglob("*.json"):
        assert str(tmp_path) not in file.read_text()

    document = json.loads((alone / "predictor.json").read_text())
    for name in ("owner/elsewhere", str(tmp_path), "tokenizers/../.."):
        document["data"]["modalities"]["title"]["tokenizer"] = name
        (alone / "predictor.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match="expected 'bytes' or a folder in tokenizers"):
            from_pretrained(alone)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    fit(load_recipe(feature_project.make_project(folder / "project", epochs=1)), folder / "run")
    return folder / "run" / "model"


def test_what_an_older_model_lacks_is_said_and_mended(model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(model.parents[1], tmp_path, dirs_exist_ok=True)
    whole = json.loads((model / "predictor.json").read_text())
    for path in (run / "model" / "predictor.json", run / "card.json"):
        path.unlink()
    with pytest.raises(ValueError, match=r"expected predictor\.json, .*`locomt evaluate RUN` writes it"):
        from_pretrained(run / "model")
    FusionModel.from_pretrained(run / "model")  # loads as it ever did
    assert main(["evaluate", str(run), "--trust"]) == 0
    assert json.loads((run / "model" / "predictor.json").read_text()) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2, "locomt": "9.0"}, r"expected format 1, got 2, written by locomt '9\.0'"),
        ({"labels": ["left", "right"]}, "has 2 labels, the model 3 outputs"),
        ({"labels": ["left", "left", "up"]}, "'left' is there more than once"),
        ({"labels": "left"}, "expected labels, a list of names"),
        ({"batch_size": "many"}, "batch_size"),
        ({"data": None}, "expected data, an object"),
        ({"data.manifest": "/etc/passwd"}, "unknown field 'manifest'"),
        ({"data.modalities.motion.dim": 7}, "motion has dim 7, the model 6"),
        ({"data.modalities.motion.kind": "smell"}, "unknown kind 'smell'"),
        ({"data.task": "regression"}, "has 1 labels|has .* the model 3 outputs"),
    ],
)
def test_what_cannot_be_is_refused(model: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    document = json.loads((folder / "predictor.json").read_text())
    for name, value in change.items():
        *sections, field = name.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[field] = value
    (folder / "predictor.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message) as found:
        from_pretrained(folder)
    assert "predictor.json" in str(found.value)
    assert len(str(found.value).splitlines()) == 1


def test_a_slip_in_the_name_of_a_run_asks_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    np.save("a.npy", np.ones((2, 6)))
    assert main(["predict", "runs/digtis", "a.npy"]) == 2
    assert "runs/digtis holds no run" in capsys.readouterr().err
    assert main(["predict", "owner/name", "a.npy"]) == 2
    assert "cannot be reached" in capsys.readouterr().err  # the tests are offline
