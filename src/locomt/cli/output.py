"""What commands write: answers to stdout, all else (progress, notes, mistakes) to stderr.

With `--json` a command writes one JSON document to stdout by `print_json`; without it, tables by
`print_table` and plain lines by `print`. Anything said along the way goes through `console()`, so that a
pipe never sees it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from locomt.cli.terminal import UNSEEN, line, raw, shown

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> Console:
    """The console on stderr, made when first used: `console().print(...)`, or for rich's progress bars.

    What it is told to print is text and no markup, and shown as `locomt.cli.terminal` has it.
    """
    from rich.console import Console
    from rich.text import Text

    class Shown(Console):
        @property
        def file(self) -> Any:
            return raw(getattr(sys.stderr, "rich_proxied_file", sys.stderr))  # which stands beneath a bar

        @file.setter
        def file(self, new: Any) -> None:
            self._file = new

        def print(self, *objects: Any, **options: Any) -> None:
            texts = [part.plain if isinstance(part, Text) else part for part in objects]
            super().print(*(shown(part) if isinstance(part, str) else part for part in texts), **options)

    return Shown(stderr=True)


@contextmanager
def hub_bars() -> Iterator[None]:
    """The bars of huggingface_hub on a terminal alone: by itself it knows no difference to a pipe."""
    from huggingface_hub import utils

    switches: Any = utils  # whose names for this are documented, but not typed
    if console().is_terminal or switches.are_progress_bars_disabled():
        yield
        return
    switches.disable_progress_bars()
    try:
        yield
    finally:
        switches.enable_progress_bars()


def print_json(document: Any) -> None:
    """Write one JSON document to stdout. NaN and infinities, which JSON lacks, become null."""
    from locomt.files import to_json

    text = to_json(_finite(document), indent=2) + "\n"
    sys.stdout.write(UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text))  # as JSON writes them out


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to stdout. Columns of numbers are set to the right; None is an empty cell.

    Piped, it is as wide as it needs to be: no cell is wrapped.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [["" if value is None else str(value) for value in row] for row in rows]
    table = Table()
    for index, name in enumerate(columns):
        numeric = any(row[index] for row in cells) and all(_is_number(row[index]) for row in cells)
        table.add_column(name, justify="right" if numeric else "left")
    for row in cells:
        table.add_row(*(Text(line(cell)) for cell in row))  # Text: a "[" in a file name is no markup
    out = Console(width=None if sys.stdout.isatty() else 10_000, file=raw(sys.stdout))
    if title:  # on a line of its own: as the table's it would be wrapped to the table's width
        out.print(Text(line(title), style="bold"), soft_wrap=True)
    out.print(table)


def _is_number(cell: str) -> bool:
    """Whether a cell reads as a number, be it with a sign, a percent sign or a spread: 0.91 ± 0.02."""
    parts = cell.replace("±", " ").replace("%", "").replace(",", "").split()
    try:
        return all(map(math.isfinite, map(float, parts)))
    except ValueError:
        return False


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
