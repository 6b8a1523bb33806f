"""Runs that start from all weights of another, be it of other views."""

from pathlib import Path

import pytest
import torch

from feature_project import make_project
from locomt.train import Run, fit, load_recipe
from locomt.train.config import RecipeError
from locomt.train.run_directory import RunError


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained Multiall in it."""
    folder = tmp_path_factory.mktemp("dense")
    fit(load_recipe(make_project(folder, epochs=1), ["--model.fusion", "multiall"]), folder / "run")
    return folder


@pytest.mark.parametrize("source", ["run", "run/model"])
def test_weights_start_as_they_were_left(dense: Path, tmp_path: Path, source: str) -> None:
    still = ["--train.start", str(dense / source), "--train.learning_rate", "1e-30", "--train.epochs", "1"]
    recipe = load_recipe(dense / "clips.yaml", [*still, "--model.views", "motion~sound:1 self:1"])
    fit(recipe, tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert str(run.model.table) == "motion~sound:1 self:1"
    before = Run.load(dense / "run").model.state_dict()
    for name, weight in run.model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert run.recipe.train.start == str(dense / source)


def test_a_path_is_relative_to_the_recipe(dense: Path) -> None:
    text = (dense / "clips.yaml").read_text().replace("train:\n", "train:\n  start: run\n")
    (dense / "other.yaml").write_text(text)
    assert load_recipe(dense / "other.yaml").train.start == str(dense / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--train.start", "nowhere"], "expected a finished run or the folder of a saved model, got nowhere"),
        (
            ["--train.start", "run", "--model.depth", "3"],
            r"do not fit this model: depth 3, they were trained with 2; \d+ of \d+",
        ),
        (
            [
                "--train.start",
                "run",
                "--model.depth",
                "3",
                "--model.dim",
                "32",
                "--data.modalities.sound.max_length",
                "9",
            ],
            r"dim 32, they were trained with 16; depth 3, they were trained with 2; modalities.sound.max_length 9, ",
        ),
        (["--train.start", "run", "--model.fusion", "mbt"], "fusion 'mbt', they were trained with"),
    ],
)
def test_what_cannot_be_started_from(dense: Path, tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RunError, match=message) as error:
        fit(load_recipe(dense / "clips.yaml", overrides), tmp_path / "run")
    assert len(str(error.value)) < 400  # and does not name every weight there is
    assert not (tmp_path / "run").exists()


def test_all_weights_leave_nothing_to_be_pretrained(dense: Path) -> None:
    with pytest.raises(RecipeError, match=r"all weights come from \S*run; leave train.pretrained out"):
        load_recipe(dense / "clips.yaml", ["--train.start", "run", "--train.pretrained.motion", "vit"])
