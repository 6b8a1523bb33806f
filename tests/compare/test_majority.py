"""The score of one answer for all samples."""

import csv
from pathlib import Path

import pytest

from feature_project import make_project
from locomt.compare.majority import majority
from locomt.data import label_list
from locomt.train.recipe_file import load_recipe


def relabel(folder: Path, labels: dict[str, list[str]]) -> None:
    """Rows of a split get the labels given, all others go."""
    path = folder / "clips.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = []
    for split, values in labels.items():
        own = [row for row in rows if row["split"] == split]
        kept += [row | {"label": value} for row, value in zip(own, values, strict=False)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)


def test_the_most_frequent_class_is_that_of_the_training_split(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path))
    relabel(tmp_path, {"train": ["left", "up", "up", "right"], "test": ["left", "left", "left", "up"]})
    found = majority(recipe.data, label_list(recipe.data))
    assert found["accuracy"] == 0.25
    assert found["f1"] == pytest.approx(0.4 / 2)  # up: precision 1/4, recall 1; left: 0; right does not occur


def test_multilabel_answers_how_frequent_each_label_is(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path, "multilabel"))
    relabel(tmp_path, {"train": ["left;up", "up", "right"], "test": ["left", "left;up", "up", "right"]})
    found = majority(recipe.data, label_list(recipe.data))
    assert found["mAP"] == pytest.approx((0.5 + 0.25 + 0.5) / 3)  # one score for all: the share of positives
    assert found["mAUC"] == pytest.approx(0.5)


def test_ordinal_answers_the_median_class(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path, "ordinal"))
    relabel(tmp_path, {"train": ["0", "0", "0", "1", "1", "2", "2", "2"], "test": ["1", "1", "2", "0"]})
    found = majority(recipe.data, label_list(recipe.data))
    assert (found["mae"], found["accuracy"], found["kappa"]) == (0.5, 0.5, 0.0)


def test_regression_answers_the_median(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path, "regression"))
    relabel(tmp_path, {"train": ["0", "1", "9"], "test": ["0", "4"]})
    assert majority(recipe.data, [])["mae"] == 2.0


def test_labels_of_steps_count_one_by_one(tmp_path: Path) -> None:
    recipe = load_recipe(
        make_project(tmp_path), ["--data.steps", "[motion]", "--data.modalities.motion.max_length", "3"]
    )
    relabel(tmp_path, {"train": ["up;up", "left"], "test": ["up;left;left;up", "up"]})
    assert majority(recipe.data, label_list(recipe.data))["accuracy"] == 0.5  # the fourth step is cut off


def test_a_split_without_labels_is_named(tmp_path: Path) -> None:
    recipe = load_recipe(make_project(tmp_path))
    relabel(tmp_path, {"train": ["left", "up"]})
    with pytest.raises(ValueError, match="no row of split 'test' has a label"):
        majority(recipe.data, ["left", "up"])
