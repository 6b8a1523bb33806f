"""Recipes for tiny projects of feature files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feature_project import make_project
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe


@pytest.fixture(name="make_project")
def project_maker(tmp_path: Path) -> Callable[..., Path]:
    """`feature_project.make_project` in a folder of the test's own."""

    def make(task: str = "multiclass", **train: Any) -> Path:
        return make_project(tmp_path / "project", task, **train)

    return make


@pytest.fixture
def project(make_project: Callable[..., Path]) -> Path:
    """The recipe of a multiclass project."""
    return make_project()


@pytest.fixture
def recipe(project: Path) -> Recipe:
    return load_recipe(project)
