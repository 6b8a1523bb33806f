"""Every study from its command in its small form, on tasks of its own."""

import json
from pathlib import Path

import pytest

from locomt.cli.main import main
from locomt.experiments.studies import STUDIES, load_study

TASKS = {
    "baselines": "modalities2",
    "tradeoff": "grounding",
    "layerwise": "qa",
    "modalities": "modalities4",
    "tasks": "moments,tones",
    "search": "modalities2",  # not one that it has in full, but the smallest
}
"""Of each study those that need no real data and that no other one has here; `lengths` has no tasks."""


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_in_small_form(tmp_path: Path, name: str) -> None:
    asked = [] if name == "lengths" else ["--tasks", TASKS[name], "--seeds", "1"]
    assert main(["experiment", name, *asked, "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["complete"]
    assert not document["full"]
    page = (tmp_path / f"{name}.md").read_text()
    assert page.startswith(f"# {load_study(name).TITLE}\n")
    if name != "lengths":
        assert [task["name"] for task in document["tasks"]] == TASKS[name].split(",")
        assert all(len(arm["runs"]) == 1 and arm["runs"][0]["score"] is not None for arm in document["arms"])
