"""Grids: how they are written, and what they make of a recipe."""

from pathlib import Path

import pytest

from feature_project import make_project
from locomt.compare.tuning import TuneError, folder_name, parse_grid, points, with_values
from locomt.train.recipe_file import load_recipe


def test_a_grid_is_all_combinations() -> None:
    grid = parse_grid(["train.learning_rate=1e-4,3e-4", "model.dropout=0, 0.1"])
    assert points(grid) == [
        {"train.learning_rate": "1e-4", "model.dropout": "0"},
        {"train.learning_rate": "1e-4", "model.dropout": "0.1"},
        {"train.learning_rate": "3e-4", "model.dropout": "0"},
        {"train.learning_rate": "3e-4", "model.dropout": "0.1"},
    ]
    assert points({}) == [{}]


def test_values_get_into_the_recipe_with_their_types(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path))
    values = {"train.learning_rate": "1e-4", "model.depth": "3", "data.modalities.sound.max_length": "2"}
    changed = with_values(recipe, values)
    assert changed.train.learning_rate == 1e-4
    assert changed.model.depth == 3
    assert changed.data.modalities["sound"].max_length == 2
    assert with_values(recipe, {}) == recipe
    assert changed.data.manifest == recipe.data.manifest


def test_runs_of_different_points_get_different_folders() -> None:
    grid = parse_grid(["train.learning_rate=1e-4,3e-4", "model.dropout=0,0.1"])
    names = [folder_name(values) for values in points(grid)]
    assert names[0] == "learning_rate=1e-4,dropout=0"
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["train.learning_rate"], "expected a field and its values.*got 'train.learning_rate'"),
        (["learning_rate=1,2"], "expected a field and its values"),
        (["train.learning_rate=1,,2"], "expected a field and its values"),
        (["train.learning_rate="], "expected a field and its values"),
        (["model.fusion=locomt,mbt"], "model.fusion cannot be tuned"),
        (["train.seed=1,2"], "train.seed cannot be tuned"),
        (["model.depth=2", "model.depth=3"], "model.depth is tuned twice"),
        (["model.depth=2,2"], "a value comes twice"),
    ],
)
def test_grids_that_cannot_be(items: list[str], message: str) -> None:
    with pytest.raises(TuneError, match=message):
        parse_grid(items)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.lr": "1"}, "the recipe has no field train.lr"),
        ({"train.epochs.x": "1"}, "the recipe has no field train.epochs.x"),
        ({"train.learning_rate": "fast"}, "train.learning_rate: expected float, got 'fast'"),
        ({"model.dropout": "2"}, r"model.dropout: expected \[0, 1\)"),
    ],
)
def test_values_that_no_recipe_can_have(tmp_path: Path, values: dict[str, str], message: str) -> None:
    recipe = load_recipe(make_project(tmp_path))
    with pytest.raises(ValueError, match=message):
        with_values(recipe, values)
