"""Typed cells, of JSON and Parquet, as the text that a CSV file would have."""

from __future__ import annotations

import math
from datetime import date, time
from decimal import Decimal
from typing import Any

from locomt.tasks.label_text import NONE_OF_THEM

EXACT = 2**53
"""Up to here a float tells every whole number from its neighbours."""


def text_of(value: Any, *, label: bool = False) -> str:
    """The text of one cell; nothing of a missing value, be it null or NaN.

    Whole floats print as integers: an integer column with gaps becomes one of floats on its way through pandas.

    Args:
        value: text, a number, a truth value, a date or a time, or a list of these, which is joined by `;`.
        label: whether the cell holds labels: then an item of a list is one of them, and an empty list says that there
            is none.

    Raises:
        ValueError: it is something else, or an item of a list that cannot be one label.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        items = [_item(item, label) for item in value]
        return NONE_OF_THEM if label and not items else ";".join(items)
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) <= EXACT else str(value)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value.is_finite() else ""
    if isinstance(value, int | date | time):
        return str(value)
    raise ValueError(f"expected text, a number or a list, got {value!r:.60}")


def _item(value: Any, label: bool) -> str:
    text = "" if isinstance(value, list) else text_of(value)
    if isinstance(value, list) or (not text and not isinstance(value, str)):
        raise ValueError(f"expected a list of texts or numbers, got {value!r:.60} in it")
    if label and (";" in text or not text.strip()):
        reason = "is empty" if not text.strip() else "holds ';', by which a manifest joins labels; rename it"
        raise ValueError(f"expected a label an item of the list, but {text!r:.60} {reason}")
    return text
