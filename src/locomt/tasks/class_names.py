"""Names of classes: what makes two of them the same, and which look as if they were meant to be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff"
"""Zero-width spaces, marks of direction, the byte order mark: what is copied along and no one sees."""
SHORTEST_WORD = 4
"""Letters of a word in which one more, less or other is taken for a slip: of shorter ones most are words as well."""
MOST_NAMES, LONGEST_NAME = 20_000, 100
"""Beyond these, names are not compared letter by letter: they are no classes but texts."""

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?")
_SPACES = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W_])|(?<=\d)[\s_-]+(?=[^\W\d_])")
"""Between words, and between a word and a number: not between numbers, nor before or after all."""
_WORDS = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+|\d+")


def clean(name: str) -> str:
    """A name as it is compared: in Unicode NFC, without spaces around it, those without width included."""
    if name.isascii():
        return name.strip()
    name, before = unicodedata.normalize("NFC", name), ""
    while name != before:
        name, before = name.strip().strip(INVISIBLE), name
    return name


def places_of(names: Iterable[str]) -> dict[str, int]:
    """Name -> its place, by what labels are looked up in the list of the model's outputs."""
    return {clean(name): place for place, name in enumerate(names)}


def near_names(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Pairs of different names that may be meant to be one, and in what they differ.

    That is letter case, spaces (or `_` or `-` between words), how a number is written, or one letter in a word of four
    or more. Names that differ in a digit, a short word or a lone letter are none: `class 1` and `class 2`, `A` and `B`.
    """
    names = list(dict.fromkeys(names))
    same: dict[str, list[str]] = {}
    for name in names:
        same.setdefault(_folded(name), []).append(name)
    for group in same.values():
        for other in group[1:]:
            yield group[0], other, _what_differs(group[0], other)
    firsts = {key: group[0] for key, group in same.items() if len(key) <= LONGEST_NAME}
    if len(firsts) <= MOST_NAMES:
        for one, other in _within_one_letter(firsts):
            if _is_slip(firsts[one], firsts[other]):
                yield firsts[one], firsts[other], "one letter"


def _folded(name: str) -> str:
    if _NUMBER.fullmatch(name):
        return repr(float(name))
    shown = "".join(sign for sign in name if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFKC", _SPACES.sub("", shown)).casefold() or name


def _what_differs(one: str, other: str) -> str:
    if _NUMBER.fullmatch(one):
        return "how a number is written"
    if one.casefold() == other.casefold():
        return "letter case"
    return "spaces" if _SPACES.sub("", one).casefold() == _SPACES.sub("", other).casefold() else "how they are written"


def _within_one_letter(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Those that are one with a letter left out of one or of both: a bucket for each such rest finds them."""
    rests: dict[str, list[str]] = {}
    seen = set()
    for name in names:
        for rest in {name, *(name[:place] + name[place + 1 :] for place in range(len(name)))}:
            for other in rests.setdefault(rest, []):
                if (other, name) not in seen:
                    seen.add((other, name))
                    yield other, name
            rests[rest].append(name)


def _is_slip(one: str, other: str) -> bool:
    """Whether all words but one are the same, and that is long and has one letter more, less, other or swapped."""
    words, others = _WORDS.findall(one), _WORDS.findall(other)
    if len(words) != len(others):
        return False
    differing = [
        (a.casefold(), b.casefold()) for a, b in zip(words, others, strict=True) if a.casefold() != b.casefold()
    ]
    if len(differing) != 1:
        return False
    a, b = differing[0]
    if not (a + b).isalpha() or min(len(a), len(b)) < SHORTEST_WORD:
        return False
    start = next((place for place, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))  # noqa: B905
    a, b = a[start:], b[start:]
    return bool(a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[2:] == b[2:] and a[:2] == b[1::-1]))
