"""Recipes for tiny projects of feature files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feature_project import make_project


@pytest.fixture(name="make_project")
def project_maker(tmp_path: Path) -> Callable[..., Path]:
    """`feature_project.make_project` in a folder of the test's own."""

    def make(task: str = "multiclass", **train: Any) -> Path:
        return make_project(tmp_path / "project", task, **train)

    return make
