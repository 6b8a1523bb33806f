"""`locomt compare`, from the command line to its files."""

import html
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from feature_project import make_project
from locomt.cli.main import main
from locomt.compare.score_table import spread
from locomt.lock import locked
from locomt.train import load_recipe

pytestmark = pytest.mark.usefixtures("short_timing")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", epochs=1)


def test_two_models_two_seeds(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = ["compare", str(recipe), "--models", "locomt,sound", "--seeds", "2", "--out", str(out)]
    assert main([*line, "--json", "--model.cross", "1.0"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [row["name"] for row in document["models"]] == ["locomt", "sound", "motion"]
    for row in document["models"]:
        assert {"metric", "mean", "std", "seeds", "gflops", "attention_gflops", "parameters"} <= set(row)
        assert row["seeds"] == 2
        assert row["latency_ms"] > 0
        assert row["peak_memory_bytes"] > 0
    assert document["recipes"][0]["views"] == "motion~sound:2"
    assert "clips locomt seed 1: accuracy" in captured.err
    assert json.loads((out / "results.json").read_text()) == document
    assert "<svg" in (out / "report.html").read_text()

    assert main([*line, "--model.cross", "1.0"]) == 0  # a second time, all is found
    captured = capsys.readouterr()
    assert captured.err.count("found done") == 6
    assert "(majority class)" in captured.out
    (average,) = document["averages"]
    assert (average["name"], average["parts"], average["seed_list"]) == ("late average", ["sound", "motion"], [0, 1])
    line = next(line for line in captured.out.splitlines() if "late average" in line)
    assert line.split("│")[2].strip() == spread(average["mean"], average["std"])
    assert f"{document['models'][0]['mean']:.3f} ± {document['models'][0]['std']:.3f}" in captured.out
    assert "sound: scored on 3 samples; 2 were skipped" in captured.out
    assert str(out / "report.html") in captured.out


def test_a_fused_model_below_its_best_part_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sound tells the label louder than motion does, but of the test split another one."""
    recipe = make_project(tmp_path / "project", epochs=6)
    for split, turn in (("train", 0), ("val", 0), ("test", 1)):
        for path in recipe.parent.glob(f"{split}*_sound.npy"):
            label = int(path.stem.removeprefix(split).removesuffix("_sound")) % 3
            loud = np.zeros((4, 6), dtype=np.float32)
            loud[:, (label + turn) % 3] = 9
            np.save(path, loud)
    line = ["compare", str(recipe), "--models", "locomt", "--seeds", "1", "--out", str(tmp_path / "out")]
    line += ["--model.dropout", "0", "--model.drop_path", "0"]
    assert main(line) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert main([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    means = {row["name"]: row["mean"] for row in document["models"]}
    assert list(means) == ["locomt", "motion", "sound"]
    assert next(iter(document)) == "below"
    assert [finding["line"] for finding in document["below"]] == [first]
    by = 100 * (means["motion"] - means["locomt"])
    assert first == (
        f"locomt is {by:.1f} points below motion alone (test accuracy {100 * means['motion']:.1f}): see "
        "docs/modalities.md, 'Which modality does the work?'; use motion alone, try train.augment.drop_modality, or "
        "train on more data"
    )
    assert first in html.unescape((tmp_path / "out" / "report.html").read_text())


def test_several_recipes_and_tuning_and_the_commands_to_go_on_with(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which are taken as they are: with spaces in names, fields set, and all that says which runs there are."""
    spaced = recipe.with_name("my clips.yaml")
    spaced.write_text(recipe.read_text())
    other = recipe.with_name("other.yaml")
    other.write_text(recipe.read_text())
    monkeypatch.chdir(tmp_path)
    line = ["compare", str(spaced), str(other), "--out", "the runs", "--models", "locomt", "--seed-list", "3"]
    line += ["--tune", "model.dropout=0,0.1", "--train.epochs", "1", "--model.views=motion~sound:1 self:1"]
    assert main(line) == 0
    text = capsys.readouterr().out
    assert "my clips: test accuracy over 1 seed" in text
    assert "other: test accuracy over 1 seed" in text
    assert "chosen by val_accuracy for other locomt: model.dropout 0" in text
    page = html.unescape((tmp_path / "the runs" / "report.html").read_text())
    commands = {words[1]: words[1:] for words in map(shlex.split, re.findall("^(locomt .*?)(?:</pre>)?$", page, re.M))}
    assert main(commands["evaluate"]) == 0
    assert main(commands["cost"]) == 0
    assert main([*commands["train"], "--json"]) == 0
    trained = load_recipe(tmp_path / "the runs" / "longer" / "config.yaml")
    assert (trained.train.epochs, trained.model.depth, trained.model.views) == (2, 4, "motion~sound:1 self:1")
    capsys.readouterr()
    assert main([*commands["compare"], "--json"]) == 0
    captured = capsys.readouterr()
    assert [row["seed_list"] for row in json.loads(captured.out)["models"]] == [[3, 4, 5, 6]] * 2 * 3
    assert captured.err.count("found done") == 2 * 3 * (2 + 1)  # both recipes, three models: tuning, and a seed


def test_a_second_process_is_refused(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("locomt.lock.PATIENCE", 0.1)
    out = tmp_path / "out"
    lines = [
        ["compare", str(recipe), "--out", str(out)],
        ["search", str(recipe), "--budget", "0.9", "--out", str(out)],
        ["experiment", "baselines", "--out", str(out)],
        ["demo", "--fast", "--out", str(out)],
        ["prepare", str(recipe), "--out", str(out)],
        ["train", str(recipe), "--run", str(out), "--resume"],
    ]
    for line in lines:
        with locked(out):
            assert main(line) == 2, line
            assert [path.name for path in out.iterdir()] == [".lock"]
        *_, error = capsys.readouterr().err.splitlines()
        assert f"{out} is in use: process {os.getpid()} on " in error
        assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "locmt"], "got 'locmt'; did you mean 'locomt'?"),
        (["--models", "locomt,,mbt"], "--models: expected names with commas between them"),
        (["--seeds", "0"], "--seeds: expected 1 or more, got 0"),
        (["--seed-list", ""], "--seed-list: expected names with commas between them, got ''"),
        (["--seed-list", "1,x"], "--seed-list: expected whole numbers"),
        (["--seed-list", "1,1"], "seeds: expected each once"),
        (["--tune-seeds", "0"], "--tune-seeds: expected 1 or more"),
        (["--tune", "dropout"], "expected a field and its values"),
        (["--tune", "train.rate=1,2"], "the recipe has no field train.rate"),
        (["--train.start", "runs/dense"], "expected a recipe without train.start, so that all models begin alike"),
        (["--jobs", "0"], "jobs: expected 1 or more, got 0"),
        (["--threads", "0"], "threads: expected 1 or more, got 0"),
        (["--data.manifest", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_mistakes_are_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["compare", str(recipe), "--out", str(tmp_path / "out"), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("locomt compare: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "out").exists()


def test_one_modality_without_selfall_is_refused_before_anything_is_trained(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(recipe.read_text())
    del content["data"]["modalities"]["sound"]
    recipe.write_text(yaml.safe_dump(content))
    assert main(["compare", str(recipe), "--out", str(tmp_path / "out"), "--seeds", "1"]) == 2
    assert "set cross to 0 or fusion to 'selfall'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_spread_needs_several_seeds() -> None:
    assert spread(0.5, None) == "0.500"
    assert spread(0.5, 0.0123) == "0.500 ± 0.012"
    assert spread(None, None) == "undefined"
