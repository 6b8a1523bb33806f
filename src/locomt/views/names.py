"""What modalities may be called, and how large a table may be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a modality may be called: the text form gives `~`, `>`, `:` and spaces a meaning of their own."""

RESERVED = ("self", "multi")
"""Words that name no modality. Later kinds of view leave their words to modalities too: recipes may use them."""

MOST_BITS = 63
"""Segments that a mask tells apart (`locomt.views.segments`): the op takes whole numbers of 64 bits, with a sign."""

MOST_HEADS, MOST_LAYERS, MOST_MODALITIES, MOST_ENTRIES = 1024, 1024, MOST_BITS, 2**18
"""Limits far above every model that was ever trained, so that a text of a few letters cannot fill a machine: heads of a
layer, fusion layers, modalities, and the product of heads, layers and modalities."""


class ViewError(ValueError):
    """A view, a layer or a table that cannot be: says what was expected, what came and where."""


def is_name(text: object) -> bool:
    """Whether a modality may be called so."""
    return isinstance(text, str) and bool(NAME.fullmatch(text)) and text not in RESERVED


def check_modalities(modalities: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple, or a `ViewError` that says which one cannot serve."""
    if isinstance(modalities, str):
        raise ViewError(f"expected a sequence of modality names, got the string {modalities!r}")
    names = tuple(modalities)
    if not names:
        raise ViewError("expected at least one modality, got none")
    if len(names) > MOST_MODALITIES:
        raise ViewError(f"expected at most {MOST_MODALITIES} modalities, got {len(names):,}")
    for name in names:
        if not is_name(name):
            raise ViewError(
                f"modality {name!r} cannot be used: a name is letters, digits and '_', does not begin "
                f"with a digit and is not one of {', '.join(RESERVED)}"
            )
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ViewError(f"modality {repeated[0]!r} is named more than once in {', '.join(names)}")
    return names


def check_size(layers: int, heads: int, modalities: int) -> None:
    """Raises `ViewError` at a table that no machine would hold."""
    for count, most, what in ((heads, MOST_HEADS, "heads of a layer"), (layers, MOST_LAYERS, "fusion layers")):
        if count > most:
            raise ViewError(f"expected at most {most:,} {what}, got {count:,}")
    if layers * heads * modalities > MOST_ENTRIES:
        raise ViewError(
            f"expected layers x heads x modalities to be at most {MOST_ENTRIES:,}, got {layers:,} x {heads:,} x "
            f"{modalities:,}: such a table fits no machine"
        )
