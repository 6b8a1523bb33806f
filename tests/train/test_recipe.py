"""Reading, overriding and saving recipes, and how they refuse."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from locomt.train.config import RecipeError, TrainConfig
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import build_recipe, load_recipe
from locomt.train.run_directory import flatten


def test_defaults_are_those_of_the_paper() -> None:
    config = TrainConfig()
    assert (config.epochs, config.optimizer, config.momentum) == (20, "sgd", 0.9)


def test_manifest_is_relative_to_the_recipe(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parents[1])
    recipe = load_recipe(Path(project.parent.name) / project.name)
    assert recipe.data.manifest == str(project.parent / "clips.csv")


def test_overrides(project: Path) -> None:
    recipe = load_recipe(
        project,
        [
            *("--model.depth", "4", "--train.learning_rate=1e-3", "--data.modalities.sound.max_length", "2"),
            *("--train.monitor", "f1", "--data.labels", "[left, right]"),
        ],
    )
    assert recipe.model.depth == 4
    assert recipe.train.learning_rate == 1e-3
    assert recipe.data.modalities["sound"].max_length == 2
    assert recipe.data.modalities["motion"].max_length == 4
    assert recipe.data.labels == ("left", "right")
    assert (recipe.monitor, recipe.monitor_mode) == ("f1", "max")


def test_recipes_of_the_same_values_share_nothing_that_can_be_changed(recipe: Recipe) -> None:
    values = recipe.to_dict()
    one, other = (build_recipe(values, "here") for _ in range(2))
    assert one == other == recipe
    dict.clear(one.data.modalities)  # type: ignore[arg-type]
    dict.update(one.train.learning_rates, {"head": 1.0})  # type: ignore[arg-type]
    values["train"]["seed"] = 1
    assert other == build_recipe(recipe.to_dict(), "here") == recipe
    assert build_recipe(values, "here").train.seed == 1


def test_a_manifest_on_the_command_line_is_relative_to_the_working_directory(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(project, ["--data.manifest", "other.csv"])
    assert recipe.data.manifest == str(tmp_path / "other.csv")


def test_labels_may_stand_in_a_file(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.parent / "names.txt").write_text("up\n\nleft, right\n")
    project.write_text(project.read_text().replace("task: multiclass", "labels: names.txt\n  task: multiclass"))
    recipe = load_recipe(project)
    assert recipe.data.labels == ("up", "left, right")
    (tmp_path / "config.yaml").write_text(recipe.to_yaml(tmp_path))
    assert load_recipe(tmp_path / "config.yaml") == recipe
    (tmp_path / "others.txt").write_text("left\nright\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(project, ["--data.labels", "others.txt"]).data.labels == ("left", "right")
    with pytest.raises(FileNotFoundError, match=r"data\.labels: expected a list of names or a file with one a line"):
        load_recipe(project, ["--data.labels", "none.txt"])


def test_preset_survives_partial_sizes(project: Path) -> None:
    text = project.read_text().replace("dim: 16", "preset: small").replace("heads: 2", "heads: 12")
    project.write_text(text)
    model = load_recipe(project).model
    assert (model.dim, model.heads, model.depth) == (384, 12, 2)


def test_saved_recipe_rebuilds_the_run(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(recipe.to_yaml(run))
    assert load_recipe(run / "config.yaml") == recipe
    assert "manifest: ../../project/clips.csv" in (run / "config.yaml").read_text()


def test_view_table_is_saved_line_by_line(project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(project, ["--model.views", "self:1 motion~sound:1\nself:2", "--model.fusion_layers", "2"])
    text = recipe.to_yaml(tmp_path)
    assert "views: |-\n    self:1 motion~sound:1\n    self:2\n" in text
    (tmp_path / "again.yaml").write_text(text)
    assert load_recipe(tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_fusion_config(make_project: Callable[..., Path], task: str) -> None:
    config = load_recipe(make_project(task)).fusion_config()
    assert config.num_outputs == (1 if task == "regression" else 3)
    assert list(config.modalities) == ["motion", "sound"]
    assert config.width == 16


def test_only_one_modality(recipe: Recipe) -> None:
    alone = recipe.only("sound")
    assert list(alone.data.modalities) == ["sound"]
    assert (alone.model.fusion, alone.model.views) == ("selfall", None)
    assert alone.train == recipe.train
    assert recipe.only("sound", "motion") == recipe
    alone.fusion_config()


def test_only_keeps_the_fusion_of_two_of_three(project: Path) -> None:
    third = "--data.modalities.third={kind: features, column: sound, dim: 6, max_length: 4}"
    recipe = load_recipe(project, [third, "--model.views", "sound~third:2"])
    pair = recipe.only("motion", "third")
    assert (pair.model.fusion, pair.model.views) == ("locomt", None)
    pair.fusion_config()


def test_only_unknown_modality(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="modality 'lips' is not one of motion, sound"):
        recipe.only("lips")


def test_only_needs_the_modality_whose_steps_are_labelled(project: Path) -> None:
    recipe = load_recipe(project, ["--data.steps", "[motion]"])
    assert recipe.only("motion").data.steps == ("motion",)
    with pytest.raises(RecipeError, match="steps of motion, none of which is left"):
        recipe.only("sound")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--model.dpeth", "4"], "section 'model': unknown name 'dpeth'; did you mean 'depth'?"),
        (["--trian.epochs", "4"], "unknown name 'trian'; did you mean 'train'?"),
        (["--model.depth", "deep"], "model.depth: expected int | None, got 'deep'"),
        (["--train.epochs", "1.5"], "train.epochs: expected int, got 1.5"),
        (["--train.compile", "maybe"], "train.compile: expected bool, got 'maybe'"),
        (["--train.epochs", "0"], "train.epochs: expected 1 or more, got 0"),
        (["--train.accumulate", "0"], "train.accumulate: expected 1 or more, got 0"),
        (["--train.ema", "1"], "train.ema: expected [0, 1), got 1"),
        (["--train.patience", "-1"], "train.patience: expected 0 or more, got -1"),
        (["--train.patience", "2000000"], "train.patience: expected at most 1,000,000, got 2,000,000"),
        (["--train.optimizer", "adam"], "train.optimizer: expected one of sgd, adamw, got 'adam'"),
        (["--train.warmup_epochs", "9"], "train.warmup_epochs 9.0 is longer than train.epochs 2"),
        (["--train.momentum", "1"], "train.momentum: expected [0, 1), got 1"),
        (["--train.monitor", "mAP"], "train.monitor: a multiclass run knows accuracy, f1"),
        (["--model.heads", "5"], "model.dim 16 is no multiple of model.heads 5"),
        (["--data.modalities.sond.dim", "4"], "unknown name 'sond'; did you mean 'sound'?"),
        (["--data.modalities.sound.dmi", "4"], "did you mean 'dim'?"),
        (["--train.standardize", "true"], "train.standardize: set standardise: true in the modalities"),
        (["--data.modalities.sound.standardize", "true"], "did you mean 'standardise'?"),
        (["--data.modalities.sound.kind", "featrues"], "did you mean 'features'?"),
        (["--train.epochs"], "override --train.epochs: expected a value after it, got none"),
        (["train.epochs", "3"], "expected an override such as '--model.depth 4', got 'train.epochs'"),
        (["--data.labels", "[a"], "not valid YAML"),
        (
            ["--data.labels", "{a: 1, a: 2}"],
            "override --data.labels, line 1: not valid YAML: the key 'a' is there twice",
        ),
        (["--data.modalities.sound.kind", "[features]"], "data.modalities.sound: unknown kind ['features']"),
        (
            ["--data.modalities.sound.dim", "10000000000"],
            "features dim: expected at most 16,777,216, got 10,000,000,000",
        ),
        (["--data.modalities", "[a]"], "data.modalities: expected"),
        (["--model.depth", "1000000"], "model.depth: expected at most 1,024, got 1,000,000: that fits no machine"),
        (["--model.mlp_ratio", ".inf"], "model.mlp_ratio: expected float, got inf"),
        (["--train.learning_rate", ".inf"], "train.learning_rate: expected a number, got inf"),
        (["--train.learning_rate", "1e39"], "train.learning_rate: expected at most 1e+30, got 1e+39"),
        (["--train.learning_rates.head", "1e39"], "train.learning_rates.head: expected at most 1e+30, got 1e+39"),
        (["--train.weight_decay", "1e39"], "train.weight_decay: expected at most 1e+30, got 1e+39"),
        (["--train.weight_decay", ".nan"], "train.weight_decay: expected"),
        (["--train.devices", "1000000"], "train.devices: expected at most 1,024, got 1,000,000"),
        (["--train.batch_size", "99999999999"], "train.batch_size: expected at most 1,048,576, got 99,999,999,999"),
        (["--data.workers", "1000000"], "data.workers: expected at most 1,024, got 1,000,000"),
    ],
)
def test_refusals(project: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(project, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [1, 2\ntrain: {}", "line 2: not valid YAML"),
        ("just words", "expected the sections model, data and train, got 'just words'"),
        ("", "expected the sections model, data and train, got None"),
        ("model: 3\n", "expected section 'model' to hold fields, got 3"),
        ("data: {modalities: {a: {kind: text, column: a, max_length: 3}}}", "field data.manifest is missing"),
        ("\xff\xfe", None),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(path) in str(error.value)
    assert (message or "something that is no text") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_flatten() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


def test_reading_a_recipe_imports_no_lightning(project: Path) -> None:
    code = (
        "import sys; from locomt.train import load_recipe; load_recipe(sys.argv[1]).fusion_config(); "
        "assert not {'lightning', 'torchmetrics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(project)], check=True, env={**os.environ})


@pytest.mark.parametrize("name", ["train.epochs", "train.learning_rates", "model.cross", "data.task"])
def test_a_field_without_a_value_is_named(name: str, project: Path) -> None:
    with pytest.raises(RecipeError, match=rf"{name}: expected .*, got nothing; leave it out"):
        load_recipe(project, [f"--{name}", "null"])
    assert load_recipe(project, ["--train.monitor", "null"]).train.monitor is None
