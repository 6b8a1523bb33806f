"""What the splits of a data set are usually called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from locomt.hints import listed, printable

USUAL_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
_KNOWN = {name: split for split, names in USUAL_NAMES.items() for name in names}
_DECORATION = re.compile(r"[\W_]*(set|split|data)?[\W_]*((19|20)[0-9]{2})?", re.ASCII)


def usual_split(name: str) -> str | None:
    """`train`, `val` or `test` where that is what a name such as `Validation` or `test_set` stands for, else None."""
    found = re.match(r"[a-z]+?(?=(?:[^a-z]|set|split|data|$))", name.strip().casefold())
    split = _KNOWN.get(found[0]) if found else None
    return split if found and _DECORATION.fullmatch(name.strip().casefold()[found.end() :]) else None


def resembles_split(name: str) -> bool:
    """Whether one of the words of a name is one for a split, as in `seg_train` and `dev-clean`."""
    return any(word in _KNOWN for word in re.split(r"[\W\d_]+", name.casefold()))


def others_there(wanted: str, known: Iterable[str]) -> str:
    """`there are 'test', 'validation'; did you mean 'validation'?`: the rest of a message on a split without rows."""
    known = sorted(set(known))
    hint = meant_split(wanted, known)
    return f"there are {listed(known, show=printable)}" + (f"; did you mean {hint!r}?" if hint else "")


def meant_split(wanted: str, known: Iterable[str]) -> str | None:
    """Another name for a split that has no rows, if one of those that have some is."""
    known, usual = sorted(known), usual_split(wanted)
    same = [name for name in known if name.casefold() == wanted.casefold() or (usual and usual_split(name) == usual)]
    return next(iter(same or get_close_matches(wanted, known, n=1, cutoff=0.65)), None)
