"""Wrap the prose of pages. What Markdown reads line by line stays as it is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

WIDTH = 120
JOINED = "\0"
"""Stands for a space at which no line may break."""
WHOLE = re.compile(r"`[^`]+`\S*|!?\[[^\]]*\]\([^)]*\)\S*")
"""Inline code and links, with the punctuation that follows."""
MARK = re.compile(r" (?=(?:[-+*=_]+|#{1,6}|\d+[.)])(?: |$)|[>|:%]|```|~~~)")
"""A space before a percent sign, or before what begins a list, a heading, a quotation, a table, a rule or a fence."""
ITEM = re.compile(r"(?:[-+*]|\d+[.)]) ")
UNTOUCHED = ("|", "#", "!", " ")
"""What lines that are not wrapped begin with: tables, headings, figures, indented lines."""


def wrapped(text: str) -> str:
    """Wrap paragraphs and list items at `WIDTH` columns. Words are not broken, however long."""
    return "\n".join(_lines(text))


def _lines(text: str) -> Iterator[str]:
    fenced = False
    for line in text.split("\n"):
        fence = line.startswith("```")
        if fenced or fence or len(line) <= WIDTH or line.startswith(UNTOUCHED):
            yield line
        else:
            yield from _wrapped_line(line)
        fenced ^= fence


def _wrapped_line(line: str) -> list[str]:
    indent = "  " if ITEM.match(line) else ""
    start = 2 if indent else 0

    def whole(found: re.Match[str]) -> str:
        return found[0].replace(" ", JOINED) if len(found[0]) <= WIDTH - len(indent) else found[0]

    joined = line[:start] + MARK.sub(JOINED, WHOLE.sub(whole, line[start:]))
    made = textwrap.wrap(joined, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [part.replace(JOINED, " ") for part in made]
