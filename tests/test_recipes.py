"""Every shipped recipe can be read, and says how to run it, how long that takes and what to expect."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from doc_pages import ROOT
from locomt.demo.demo import TEMPLATE
from locomt.train.recipe import SECTIONS
from locomt.train.recipe_file import load_recipe

RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
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


def test_every_field_is_set_in_a_recipe_or_the_documentation_says_who_sets_it() -> None:
    demo = TEMPLATE.format(command="", minutes="", expected="", epochs=1, warmup=1)
    contents = [yaml.safe_load(text) for text in (demo, *(path.read_text() for path in RECIPES))]
    used = {f"{section}.{name}" for values in contents for section, given in values.items() for name in given}
    known = {f"{section}.{f.name}" for section, kind in SECTIONS.items() for f in fields(kind)}
    page = (ROOT / "docs" / "training.md").read_text()
    table = page.partition("### Who sets the other fields\n")[2].partition("\n#")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert sorted(told) == sorted(known - used)
