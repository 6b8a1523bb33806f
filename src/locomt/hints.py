"""What messages have in common: what a name may have meant, what can be shown, what matters of much that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """`did you mean 'frames'?` where a known name is close, else `otherwise`."""
    close = get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def unknown_name(name: object, known: Iterable[str]) -> str:
    """`unknown name 'framse'; did you mean 'frames'?`"""
    known = list(known)
    return f"unknown name {name!r}; " + did_you_mean(name, known, f"expected one of {', '.join(known)}")


def listed(names: Iterable[str], most: int = 8, show: Callable[[str], str] = repr) -> str:
    """`'a', 'b' and 3 more`: names as Python writes them, so that no control character in them reaches a terminal."""
    names = list(names)
    return ", ".join(map(show, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def printable(text: str) -> str:
    """A text in one line, with an escape sequence such as `\\x1b` for every character that is no mark on paper."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def require_list(names: object, what: str) -> None:
    """Refuse a text where a list of names is expected: it would be taken for its letters.

    Raises:
        ValueError: it is one.
    """
    if isinstance(names, str):
        raise ValueError(f"{what}: expected a list of names, got the text {names!r}; write [{names!r}] for one")


def in_short(parts: Sequence[str], shown: int = 3) -> str:
    """`a; b; c (and 4 more)`: the first of several, which are to be those that matter most."""
    more = f" (and {len(parts) - shown} more)" if len(parts) > shown else ""
    return "; ".join(parts[:shown]) + more
