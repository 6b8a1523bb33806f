"""What commands write: answers to stdout, all else (progress, notes, mistakes) to stderr.

With `--json` a command writes one JSON document to stdout by `print_json`; without it, tables by
`print_table` and plain lines by `print`. Anything said along the way goes through `console()`, so that a
pipe never sees it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> Console:
    """The console on stderr, made when first used: `console().print(...)`, or for rich's progress bars."""
    from rich.console import Console

    return Console(stderr=True)


def print_json(document: Any) -> None:
    """Write one JSON document to stdout. NaN and infinities, which JSON lacks, become null."""
    from locomt.data.json_text import to_json

    sys.stdout.write(to_json(_finite(document), indent=2) + "\n")


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
        table.add_row(*(Text(_printable(cell)) for cell in row))  # Text: a "[" in a file name is no markup
    out = Console(width=None if sys.stdout.isatty() else 10_000)
    if title:  # on a line of its own: as the table's it would be wrapped to the table's width
        out.print(Text(title, style="bold"), soft_wrap=True)
    out.print(table)


def _printable(cell: str) -> str:
    """A name of a file that is not UTF-8 with its strange bytes escaped, since no terminal can show them."""
    return cell.encode("utf-8", "backslashreplace").decode()


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
