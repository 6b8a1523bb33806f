"""The studies by name. Each is a module here that has what `Study` lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from locomt.files import to_json, write_text
from locomt.hints import did_you_mean
from locomt.studies.plan import Plan, StudyError
from locomt.studies.wrapping import wrapped

__all__ = ["STUDIES", "Plan", "Study", "StudyError", "load_study", "read_results", "render"]

STUDIES: Mapping[str, str] = {
    "baselines": "baselines",
    "tradeoff": "tradeoff",
    "layerwise": "layerwise",
    "modalities": "more_modalities",
    "lengths": "lengths",
    "tasks": "beyond_classification",
    "search": "found_tables",
}
"""Name of a study -> its module in this package."""


class Study(Protocol):
    """What the module of a study has."""

    TITLE: str
    QUESTION: str

    def run(self, plan: Plan) -> dict[str, Any]:
        """Run the study, or resume it. Returns what it wrote to `results.json` in `plan.out`."""

    def summary(self, document: dict[str, Any]) -> str:
        """Answer the question in one paragraph, from the results alone."""

    def page(self, document: dict[str, Any]) -> str:
        """Write the page in Markdown, from the results alone."""

    def figures(self, document: dict[str, Any]) -> dict[str, str]:
        """Draw the figures, from the results alone: name -> SVG."""


def load_study(name: str) -> Study:
    """Import a study by its name.

    Raises:
        StudyError: no study has this name.
    """
    if name not in STUDIES:
        hint = did_you_mean(name, STUDIES, "`locomt experiment --help` says more")
        raise StudyError(f"expected a study out of {', '.join(STUDIES)}, got {name!r}; {hint}")
    return cast(Study, import_module(f"locomt.studies.{STUDIES[name]}"))


def read_results(path: Path, name: str) -> dict[str, Any]:
    """Read the results of a study.

    Raises:
        StudyError: there are none, or they belong to another study.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = document["study"]
    except FileNotFoundError:
        raise StudyError(f"there are no results {path}: make the study first, without --render") from None
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise StudyError(f"{path}: expected the results of a study, got something else ({error})") from None
    if found != name:
        raise StudyError(f"{path} holds the results of study {found!r}, not of {name!r}")
    return dict(document)


def render(name: str, document: dict[str, Any], pages: Path) -> Path:
    """Write a study's page, figures and results into the folder `pages`. Returns the path of the page.

    Raises:
        StudyError: the results lack what the page needs.
    """
    study = load_study(name)
    try:
        page, figures = study.page(document), study.figures(document)
    except KeyError as error:
        raise StudyError(
            f"the results of study {name} lack {error}: they were written by another version; make the study anew"
        ) from None
    write_text(pages / f"{name}.json", to_json(document, indent=1) + "\n")
    for figure, svg in figures.items():
        write_text(pages / f"{figure}.svg", svg)
    write_text(pages / f"{name}.md", wrapped(page))
    return pages / f"{name}.md"
