"""What every study leaves behind, whatever it is about."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from locomt.studies import load_study

Made = dict[str, tuple[Path, dict[str, Any]]]
"""Study -> its folder and its results."""


def words(page: Path) -> str:
    """What a page says, in one line."""
    return " ".join(page.read_text().split())


def check_study(name: str, out: Path, document: dict[str, Any]) -> None:
    """Results that are complete, a page that tells of them, and figures that the page shows."""
    assert document["complete"]
    assert not document["full"]
    page = (out / f"{name}.md").read_text()
    assert page.startswith(f"# {load_study(name).TITLE}\n")
    assert document["command"] in page
    assert f"locomt experiment {name}" in document["command"]
    assert "supports no conclusion" in words(out / f"{name}.md")  # it is the small form
    figures = list(out.glob("*.svg"))
    assert figures
    for figure in figures:
        assert f"({figure.name})" in page
        assert ElementTree.parse(figure).getroot().tag.endswith("svg")
