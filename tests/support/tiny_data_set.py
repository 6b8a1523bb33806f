"""A data set of a few feature files, for studies that take seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from feature_project import make_project
from locomt.studies.datasets import DataSet


def write(folder: Path, data: Path | None, settings: Mapping[str, Any]) -> None:
    make_project(folder)
    (folder / "clips.yaml").rename(folder / "sections.yaml")


def make_data_set(folder: Path) -> DataSet:
    """`folder` is for the sections of the recipe, which are those of the feature project."""
    sections = yaml.safe_load(make_project(folder, epochs=1).read_text())
    sections["model"] |= {"dim": 8, "fusion_layers": 2, "dropout": 0.0, "drop_path": 0.0}
    sections["data"]["modalities"]["motion"]["max_length"] = 8
    return DataSet(
        name="tiny",
        about="Three classes that either modality gives away.",
        settings=lambda full: {"full": full},
        write=write,
        recipe=lambda full: sections,
    )
