"""The kinds of view, each a rule: how it is written, and how much of every modality queries see under it.

A new kind is an entry in `KINDS`: what is computed, what is charged for and what the guarantee says follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple


class Part(IntEnum):
    """How much of a modality queries see: nothing, its class tokens, which come first in it, or all tokens."""

    NOTHING = 0
    CLASS = 1
    ALL = 2


class Kind(NamedTuple):
    """A rule.

    Attributes:
        form: how such a view is written, with `a` and `b` where it names modalities.
        sees: from the pair that the view names (empty where it names none), the queries' modality and the keys', what
            the queries see of the keys.
        bounded: whether it costs no more than `self` whatever the token counts: the guarantee's first step.
        swaps: whether the two modalities may be named in either order.
    """

    form: str
    sees: Callable[[tuple[str, ...], str, str], Part]
    bounded: bool = True
    swaps: bool = False


def _own(pair: tuple[str, ...], query: str, key: str) -> Part:
    return Part.ALL if query == key else Part.NOTHING


def _everything(pair: tuple[str, ...], query: str, key: str) -> Part:
    return Part.ALL


def _class_tokens(pair: tuple[str, ...], query: str, key: str) -> Part:
    """An information bottleneck: every modality is seen through its class tokens alone."""
    return Part.CLASS


def _each_other(pair: tuple[str, ...], query: str, key: str) -> Part:
    return Part.ALL if pair in ((query, key), (key, query)) else Part.NOTHING


def _one_way(pair: tuple[str, ...], query: str, key: str) -> Part:
    return Part.ALL if pair == (query, key) else Part.NOTHING


KINDS = {
    "self": Kind("self", _own),
    "multi": Kind("multi", _everything, bounded=False),
    "cls": Kind("cls", _class_tokens, bounded=False),
    "~": Kind("a~b", _each_other, swaps=True),
    ">": Kind("a>b", _one_way),
}
"""By the word that a view is, or by the mark between the two modalities that it names."""
