"""Documents as JSON that is readable in any language and can always be written as UTF-8."""

from __future__ import annotations

import json
from typing import Any


def to_json(document: Any, *, indent: int | None = None) -> str:
    """A document as JSON. Halves of surrogate pairs, which the names of files that are not UTF-8 have, are escaped.

    Raises:
        ValueError: it holds NaN or an infinite number, which JSON lacks.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()
