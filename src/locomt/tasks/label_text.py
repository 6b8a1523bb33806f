"""The text of a label cell: what a name and a number look like in it, and what joins several."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from locomt.hints import did_you_mean, listed, printable
from locomt.tasks.class_names import clean

NONE_OF_THEM = ";"
"""A cell that says that there is none, as an empty one says that it is not known."""
NOTHING = (NONE_OF_THEM, "[]")
"""Cells that say that there is none: the second is what programs print of an empty list, and can mean nothing else."""
LARGEST = torch.finfo(torch.float32).max


class LabelError(ValueError):
    """A label cell, or a list of labels, that cannot be: says what was expected and what came."""


def split_labels(cell: str) -> list[str]:
    """`"a; b"` -> `["a", "b"]`."""
    return [clean(name) for name in cell.split(";")]


def is_written_list(cell: str) -> bool:
    """Whether a cell is what programs print of a list with something in it: `['a', 'b']`, `["a"]`, `[0, 1]`, `{a,b}`.

    `[music]` is none: so sounds are called in transcripts.
    """
    if cell.startswith("array("):
        return True
    if cell[:1] + cell[-1:] not in ("[]", "{}", "()") or len(cell) < 3:
        return False
    inner = cell[1:-1].strip(", \n\t")
    if inner[:1] in ("'", '"', "[", "{", "("):
        return True
    if cell[0] != "(" and (not inner or "," in inner):
        return True
    items = inner.replace(",", " ").split()
    return (cell[0] == "[" or len(items) > 1) and all(map(_is_number, items))


def _is_number(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdecimal()


def not_a_list(cell: str) -> str:
    """What to say of a written list."""
    return (
        f"expected labels joined by ';', as in a;b, or a real list in JSON lines or Parquet, got the text {cell!r:.80}"
    )


def place_of(name: str, places: Mapping[str, int]) -> int:
    """The index of a class, as `locomt.tasks.class_names.places_of` gives it.

    Raises:
        LabelError: it is not on the list.
    """
    if name in places:
        return places[name]
    hint = did_you_mean(name, places, f"the labels are {listed(places, show=printable)}")
    raise LabelError(f"label {name!r} is not on the list; {hint}")


def number_of(text: str) -> float:
    """A number as float32 can hold it: a larger one would be infinite in the loss, and so would the loss.

    Raises:
        LabelError: it is none, or not finite.
    """
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError(f"expected a finite number as label, got {text!r:.80}")
    if abs(value) > LARGEST:
        raise LabelError(
            f"expected a finite number as label, got {text!r:.80}, which float32 cannot hold: it ends at {LARGEST:.2g}"
        )
    return value
