"""The last part of an error about a name that is not known: what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean 'frames'?` where a known name is close, else `otherwise`."""
    close = get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise
