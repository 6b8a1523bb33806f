"""What is said of a run whose answer is worse than what its model answers to one modality alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_project import make_project, read_rows, write_manifest
from locomt.train.below_its_part import below, of_run
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe

ROW = {"monitor": "val_accuracy", "val_accuracy": 0.712, "val_accuracy/motion": 0.199, "val_accuracy/sound": 0.962}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Whose samples have all modalities."""
    folder = tmp_path_factory.mktemp("best_part")
    path = make_project(folder)
    write_manifest(folder, [row | {"sound": row["sound"] or row["motion"]} for row in read_rows(folder)])
    return load_recipe(path, "--train.unimodal_loss 1")


def test_the_line(recipe: Recipe) -> None:
    line = (
        "val_accuracy is 25.0 points below that of sound alone in this model (96.2): see docs/modalities.md, "
        "'Which modality does the work?'; use sound alone, try train.augment.drop_modality, or train on more data"
    )
    assert of_run(ROW, recipe) == line
    dropping = replace(recipe, train=replace(recipe.train, augment={"drop_modality": 0.5}))
    assert of_run(ROW, dropping) == line.replace(", try train.augment.drop_modality", "")


def test_a_modality_that_some_samples_lack_was_scored_on_others(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path), "--train.unimodal_loss 1")
    assert of_run(ROW, recipe) == (
        "val_accuracy is 25.0 points below that of sound alone in this model (96.2 on the 4 of 6 samples that have it)"
        ": see docs/modalities.md, 'Which modality does the work?'; these are other samples: "
        "`locomt compare` tells more"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"val_accuracy": 0.962},
        {"val_accuracy": 0.9619},  # by less than is shown
        {"val_accuracy": 0.97},
        {"val_accuracy": None},
        {"val_accuracy/sound": None},
        {"monitor": "val_f1"},
        {"monitor": "train_loss"},
        {"monitor": "val_nothing"},
    ],
)
def test_nothing_to_say(recipe: Recipe, changes: dict[str, Any]) -> None:
    assert of_run(ROW | changes, recipe) == ""


def test_less_is_better_where_it_is(recipe: Recipe) -> None:
    row = {"monitor": "val_loss", "val_loss": 0.8, "val_loss/motion": 1.2, "val_loss/sound": 0.55}
    assert of_run(row, recipe).startswith("val_loss is 0.250 worse than that of sound alone in this model (0.550): see")
    assert of_run(row | {"val_loss": 0.5}, recipe) == ""


def test_a_run_without_such_columns(recipe: Recipe) -> None:
    assert of_run({"monitor": "val_accuracy", "val_accuracy": 0.5, "train_loss": 1.0}, recipe) == ""


def test_by_how_much() -> None:
    assert below(0.9, 0.932, "max") == "3.2"
    assert below(2.5, 12.0, "max") == "9.500"  # no share
    assert below(0.3, 0.1, "min") == "0.200"
    assert below(0.1, 0.3, "min") == below(0.9996, 1.0, "max") == ""
