"""Which task labels are of, told from their form."""

from __future__ import annotations

from collections.abc import Iterable

from locomt.tasks.events import parse_events
from locomt.tasks.label_text import NOTHING, LabelError, number_of

MOST_CLASSES = 20
"""So many different whole numbers may be classes; more are amounts."""
NUMBERS = 0.9
"""Of labels that are numbers: the rest may be slips, which make bad samples."""


def guess_task(cells: Iterable[str]) -> str:
    """The task: `temporal` for events (`dog@0.5-1.25`), `multilabel` where some are joined by `;`, `regression` for
    numbers with fractions or many whole ones, else `multiclass`.

    Whole numbers may be of an order (`ordinal`), which their form does not say.
    """
    distinct = set(cells)
    if all(_is_events(cell) for cell in distinct) and not distinct <= set(NOTHING):
        return "temporal"
    if any(";" in cell or cell in NOTHING for cell in distinct):
        return "multilabel"
    numbers = [number for cell in distinct if (number := _number(cell)) is not None]
    if len(numbers) < NUMBERS * len(distinct):
        return "multiclass"
    whole = all(number.is_integer() for number in numbers)
    return "multiclass" if whole and len(distinct) <= MOST_CLASSES else "regression"


def _number(cell: str) -> float | None:
    try:
        return number_of(cell)
    except LabelError:
        return None


def _is_events(cell: str) -> bool:
    try:
        parse_events(cell)
    except LabelError:
        return False
    return True
