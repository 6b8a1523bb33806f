"""Every shipped recipe can be read, and says how to run it, how long that takes and what to expect."""

import re
from pathlib import Path

import pytest

from locomt.train.recipe_file import load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").rglob("*.yaml"))
METRIC = re.compile(r"accuracy|\bmAP\b|\bF1\b|\bMAE\b|\bAUC\b|correct", re.IGNORECASE)
TIME = re.compile(r"\d+\s*(s|seconds?|min|minutes?|h|hours?)\b")


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.data.modalities


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_is_headed_by_command_time_and_metric(path: Path) -> None:
    lines = path.read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    head = " ".join(line.lstrip("# ") for line in lines[:end])
    assert "locomt " in head, "the command that runs it"
    assert TIME.search(head), "the time that it takes"
    assert METRIC.search(head), "the metric to expect"
