"""Parts of errors: what may have been meant by a name that is not known, and what matters of much that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean 'frames'?` where a known name is close, else `otherwise`."""
    close = get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def in_short(parts: Sequence[str], shown: int = 3) -> str:
    """`a; b; c (and 4 more)`: the first of several, which are to be those that matter most."""
    more = f" (and {len(parts) - shown} more)" if len(parts) > shown else ""
    return "; ".join(parts[:shown]) + more
