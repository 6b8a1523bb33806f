"""Runs of others: what their `config.yaml` names outside of its folder is not followed without the user's word."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from feature_project import make_project
from locomt.cli.main import main
from locomt.train import Run, evaluate, fit, load_recipe, origin, predict
from locomt.train.config import RecipeError
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory, RunError


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same data, which every test has a copy of."""
    folder = tmp_path_factory.mktemp("trained")
    fit(load_recipe(make_project(folder / "project")), folder / "run")
    return folder / "run"


@pytest.fixture
def run(trained: Path, project: Path, tmp_path: Path) -> Path:
    """Beside the project, where its `config.yaml` looks for the data."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def foreign(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same run, for a user who did not begin it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(run.parent / "another"))
    return run


def edit(run: Path, **fields: object) -> None:
    """Change `section__field` of a run's `config.yaml`."""
    values = yaml.safe_load((run / "config.yaml").read_text())
    for name, value in fields.items():
        *parents, last = name.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(values))


def test_ones_own_run_is_used_as_it_is(run: Path) -> None:
    assert evaluate(Run.load(run))["samples"] == 5
    assert load_recipe(run / "config.yaml").data.manifest.endswith("clips.csv")


def test_data_of_a_foreign_run_are_read_on_the_users_word_alone(foreign: Path, project: Path) -> None:
    loaded = Run.load(foreign)  # which is all that `predict` takes
    clip = {"motion": project.parent / "test0_motion.npy"}
    assert "predictions" in predict(loaded, [clip])[0]
    with pytest.raises(RunError, match=r"config\.yaml: data\.manifest is .* pass --trust .* or set --data\.manifest"):
        evaluate(loaded)
    with pytest.raises(RecipeError, match=r"data\.manifest is"):
        load_recipe(foreign / "config.yaml")
    assert evaluate(Run.load(foreign, trust=True))["samples"] == 5
    mine = ["--data.manifest", str(project.parent / "clips.csv")]
    assert evaluate(Run.load(foreign, mine))["samples"] == 5
    assert main(["evaluate", str(foreign)]) == 2
    assert main(["evaluate", str(foreign), "--trust"]) == 0


def test_data_within_a_foreign_run_are_its_own(foreign: Path, project: Path) -> None:
    shutil.copytree(project.parent, foreign / "data")
    edit(foreign, data__manifest="data/clips.csv")
    assert evaluate(Run.load(foreign))["samples"] == 5
    edit(foreign, data__allow_outside=True)
    with pytest.raises(RunError, match=r"data\.allow_outside is"):
        evaluate(Run.load(foreign))


def test_a_link_out_of_the_folder_is_outside(foreign: Path, project: Path) -> None:
    (foreign / "data").symlink_to(project.parent)
    edit(foreign, data__manifest="data/clips.csv")
    with pytest.raises(RunError, match=r"data\.manifest is"):
        evaluate(Run.load(foreign))


def test_a_run_that_was_edited_is_foreign(run: Path) -> None:
    edit(run, data__test_split="val")
    with pytest.raises(RunError, match="or was changed since"):
        evaluate(Run.load(run))


@pytest.mark.parametrize("field", ["tokenizer", "encoder"])
def test_text_models_of_a_foreign_run_are_not_asked_for(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    text = {"kind": "text", "column": "title", "max_length": 8, field: "someone/else"}
    edit(foreign, data__modalities={"title": text})

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("a name of a foreign run was followed")

    monkeypatch.setattr("locomt.nn.checkpoint.checkpoint_folder", asked)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", asked)
    with pytest.raises(RunError, match=rf"data\.modalities\.title\.{field} is 'someone/else'"):
        Run.load(foreign)


def test_starting_points_and_labels_of_a_foreign_run(foreign: Path, project: Path) -> None:
    mine = ["--data.manifest", str(project.parent / "clips.csv")]
    assert load_recipe(foreign / "config.yaml", mine).train.start is None
    edit(foreign, train__start="/elsewhere")
    with pytest.raises(RecipeError, match=r"train\.start is '/elsewhere'"):
        load_recipe(foreign / "config.yaml", mine)
    (project.parent / "labels.txt").write_text("secret\n")
    edit(foreign, train__start=None, data__labels=str(project.parent / "labels.txt"))
    with pytest.raises(RecipeError, match=r"data\.labels is"):
        Run.load(foreign)


def test_resuming_with_ones_own_recipe_makes_the_run_ones_own(foreign: Path, recipe: Recipe) -> None:
    fit(recipe, foreign, resume=True)
    assert evaluate(Run.load(foreign))["samples"] == 5


def test_where_no_key_can_be_kept_runs_work_until_the_program_ends(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    fit(recipe, tmp_path / "run")
    assert evaluate(Run.load(tmp_path / "run"))["samples"] == 5
    del os.environ[origin.PASSED_ON]
    with pytest.raises(RunError, match=f"holds no mark of the key in {tmp_path}/file"):
        evaluate(Run.load(tmp_path / "run"))


def test_the_key_is_the_users_alone(run: Path) -> None:
    key = origin.state_folder() / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == origin.BYTES
    assert [path.name for path in key.parent.iterdir()] == ["key"]


def test_a_recipe_that_is_called_like_a_runs_is_a_recipe(project: Path) -> None:
    config = project.rename(project.with_name("config.yaml"))
    (config.parent / "labels.json").write_text(json.dumps(["a"]))
    assert load_recipe(config, ["--data.allow_outside", "true"]).data.allow_outside
    assert not RunDirectory(config.parent).finished
