"""What reaches a terminal is text: control characters that came with data are written out, `\\x1b` for an escape.

A file's name, a label or a cell of a manifest may hold what retitles a window, paints over lines or turns text round.
All that a command writes goes through here: `print`, warnings, log lines and errors of other libraries by `guarded`,
what rich lays out (it writes control characters of its own) by `output`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# C0 but for tab and newline, DEL, C1, line and paragraph separators, marks and overrides of direction, zero width (but
# for joiners, which scripts and emoji need), the byte order mark, halves of surrogate pairs, and the invisible "tags"
# that can spell whole sentences
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
BAR = re.compile(r"\r|(\n|\x1b\[A)+")
"""What the progress bars of downloads write by itself, to get to the beginning of their line."""


def shown(text: str) -> str:
    """A text of several lines with all that does not show written out."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def line(text: str) -> str:
    """A text that is to stay on one line."""
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")


class Guarded:
    """A stream on which everything is `shown`."""

    def __init__(self, stream: Any) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        if text.startswith("\r") and BAR.match(text):  # a bar that is drawn anew
            return int(self.raw.write("\r" + shown(text[1:])))
        return int(self.raw.write(text if BAR.fullmatch(text) else shown(text)))

    def writelines(self, lines: list[str]) -> None:
        for text in lines:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Have stdout and stderr show everything, for as long as a command runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Guarded(sys.stdout), Guarded(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw(stream: Any) -> Any:
    """The stream itself, for what has been looked at already."""
    return stream.raw if isinstance(stream, Guarded) else stream
