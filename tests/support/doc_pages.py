"""The pages of the documentation, and the command lines in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fenced(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for found, text in FENCE.findall(page.read_text()) if found == language]


def command_lines(page: Path) -> list[str]:
    """The lines of its shell blocks in their order, those that go on in the next one joined."""
    return [line for text in fenced(page, "bash") for line in text.replace("\\\n", " ").splitlines()]
