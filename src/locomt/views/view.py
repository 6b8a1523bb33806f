"""One head's view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations

from locomt.views.kinds import KINDS, Kind, Part
from locomt.views.names import ViewError, check_modalities, is_name
from locomt.views.segments import query_pairs, split

MARKS = sorted((mark for mark, kind in KINDS.items() if mark != kind.form), key=len, reverse=True)
"""Between two modalities. A longer one comes before those that it holds."""


@dataclass(frozen=True)
class View:
    """One head's view, in its text form: `self`, `multi`, `cls`, `a~b` (cross) or `a>b` (one-way)."""

    text: str

    def __post_init__(self) -> None:
        if self.text in KINDS and self.text not in MARKS:
            return
        first, _, second = self.text.partition(self.link or "~")
        for name in (first, second):
            if not is_name(name):
                *forms, last = (repr(kind.form) for kind in KINDS.values())
                raise ViewError(f"expected a view {', '.join(forms)} or {last}, got {self.text!r}")
        if first == second:
            raise ViewError(f"view {self.text!r} pairs {first!r} with itself; use 'self'")

    @property
    def link(self) -> str:
        """`~`, `>` or the empty string where the view names no pair."""
        return next((mark for mark in MARKS if mark in self.text), "")

    @property
    def kind(self) -> Kind:
        return KINDS[self.link or self.text]

    @property
    def pair(self) -> tuple[str, ...]:
        """The two modalities that the view names; empty where it names none."""
        return tuple(self.text.split(self.link)) if self.link else ()

    @property
    def is_cross(self) -> bool:
        return bool(self.link)

    def part(self, query: str, key: str) -> Part:
        """How much of modality `key` the queries of modality `query` see."""
        return self.kind.sees(self.pair, query, key)

    def sees(self, query: str, key: str) -> bool:
        """Whether queries of modality `query` see keys of modality `key`, some or all: the entry A[query, key]."""
        return self.part(query, key) is not Part.NOTHING

    def splits(self, names: tuple[str, ...]) -> bool:
        """Whether it tells the class tokens of a modality from the rest."""
        return any(self.part(i, j) is Part.CLASS for i in names for j in names)

    def masks(self, names: tuple[str, ...], parts: int) -> tuple[int, ...]:
        """What each segment's queries see, a bit for each segment: of every modality there are 1 or 2 `parts`."""
        bits = {Part.NOTHING: 0, Part.CLASS: 1, Part.ALL: 2**parts - 1}
        masks = (sum(bits[self.part(i, j)] << parts * n for n, j in enumerate(names)) for i in names)
        return tuple(mask for mask in masks for _ in range(parts))

    def query_pairs(
        self, lengths: Mapping[str, int], class_tokens: Mapping[str, int] | None = None, *, own: bool = False
    ) -> dict[str, int]:
        """The scores that one head takes for the queries of each modality.

        Args:
            lengths: tokens of every modality, class tokens counted.
            class_tokens: how many of them, at the front, are class tokens; 1 where it does not say.
            own: whether queries see their own modality where all that the view looks to are missing.
        """
        counts = class_tokens or {}
        names = tuple(lengths)
        first = tuple(counts.get(name, 1) for name in names)
        return dict(zip(names, _pairs(self, names, tuple(lengths.values()), first, own), strict=True))

    def score_pairs(self, lengths: Mapping[str, int], class_tokens: Mapping[str, int] | None = None) -> int:
        """C(view): how many query-key scores one head computes; arguments as for `query_pairs`."""
        return sum(self.query_pairs(lengths, class_tokens).values())

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)  # a search asks for the same views of the same tokens for every table
def _pairs(
    view: View, names: tuple[str, ...], lengths: tuple[int, ...], class_tokens: tuple[int, ...], own: bool
) -> tuple[int, ...]:
    pairs = query_pairs(split(lengths, class_tokens), view.masks(names, 2), 2 * own)
    return tuple(map(sum, zip(pairs[::2], pairs[1::2], strict=True)))


SELF, MULTI = View("self"), View("multi")


def view_set(modalities: Iterable[str], *, one_way: bool = False) -> tuple[View, ...]:
    """The paper's set P: self and one cross view for each pair, m(m-1)/2 + 1 in all.

    With `one_way` the m(m-1) views `a>b`, which are not in the paper's set, follow them.
    """
    names = check_modalities(modalities)
    ones = (View(f"{a}>{b}") for a, b in permutations(names, 2)) if one_way else ()
    return (SELF, *(View(f"{a}~{b}") for a, b in combinations(names, 2)), *ones)
