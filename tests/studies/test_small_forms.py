"""Every study that has tasks, from its command in its small form, on tasks of its own."""

import json
from pathlib import Path

import pytest

from locomt.cli.main import main
from locomt.studies import load_study

DATA_SETS = {
    "baselines": "modalities2",
    "tradeoff": "grounding",
    "layerwise": "qa",
    "modalities": "modalities4",
    "tasks": "moments,tones",
    "search": "modalities2",  # not one that it has in full, but the smallest
}
"""Of each study some that need no real data."""


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_study_in_small_form(tmp_path: Path, name: str) -> None:
    line = ["experiment", name, "--data-sets", DATA_SETS[name], "--seeds", "1", "--out", str(tmp_path)]
    assert main(line) == 0
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["complete"]
    assert not document["full"]
    page = (tmp_path / f"{name}.md").read_text()
    assert page.startswith(f"# {load_study(name).TITLE}\n")
    assert [task["name"] for task in document["tasks"]] == DATA_SETS[name].split(",")
    assert all(len(arm["runs"]) == 1 and arm["runs"][0]["score"] is not None for arm in document["arms"])
