"""What errors about names have in common: what may have been meant, and a name where names were expected."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean 'frames'?` where a known name is close, else `otherwise`."""
    close = get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def require_list(names: object, what: str) -> None:
    """Refuse a text where a list of names is expected: it would be taken for its letters.

    Raises:
        ValueError: it is one.
    """
    if isinstance(names, str):
        raise ValueError(f"{what}: expected a list of names, got the text {names!r}; write [{names!r}] for one")
