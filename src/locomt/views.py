"""Views and view tables: who may look at whom, as plain data.

A *view* says which modalities' keys the queries of each modality may see. Every attention head of every
fusion layer holds one view (Park & Choi, "Multimodal Transformer With a Low-Computational-Cost Guarantee",
ICASSP 2024, arXiv 2402.15096, section 2). This module knows nothing of neural networks: the op, the
models, and the cost formulas all read the tables defined here, so that what is computed and what
is charged for cannot disagree.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations, groupby, permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a modality may be called: the text form gives `~`, `>`, `:` and spaces a meaning of their own."""

RESERVED = ("self", "multi")
MOST_HEADS, MOST_LAYERS, MOST_MODALITIES, MOST_ENTRIES = 1024, 1024, 64, 2**18
"""Limits far above every model that was ever trained, so that a text of a few letters cannot fill a machine: heads of a
layer, fusion layers, modalities, and the product of the three."""
STRATEGIES = ("spread", "bottleneck", "alternating", "random", "ascending", "descending")


class ViewError(ValueError):
    """A view, a layer or a table that cannot be: says what was expected, what came and where."""


@dataclass(frozen=True)
class View:
    """One head's view, in its text form: `self`, `multi`, `a~b` (cross) or `a>b` (one-way)."""

    text: str

    def __post_init__(self) -> None:
        if self.text in RESERVED:
            return
        first, _, second = self.text.partition(self.link or "~")
        for name in (first, second):
            if not NAME.fullmatch(name) or name in RESERVED:
                raise ViewError(f"expected a view 'self', 'multi', 'a~b' or 'a>b', got {self.text!r}")
        if first == second:
            raise ViewError(f"view {self.text!r} pairs {first!r} with itself; use 'self'")

    @property
    def link(self) -> str:
        """`~`, `>` or the empty string where the view names no pair."""
        return next((c for c in "~>" if c in self.text), "")

    @property
    def pair(self) -> tuple[str, ...]:
        """The two modalities that the view names; empty for `self` and `multi`."""
        return tuple(self.text.split(self.link)) if self.link else ()

    @property
    def is_cross(self) -> bool:
        return bool(self.link)

    def sees(self, query: str, key: str) -> bool:
        """Whether queries of modality `query` see keys of modality `key`: the entry A[query, key]."""
        if self.text == "multi":
            return True
        if self.text == "self":
            return query == key
        return (query, key) == self.pair or (self.link == "~" and (key, query) == self.pair)

    def score_pairs(self, lengths: Mapping[str, int]) -> int:
        """C(view): how many query-key scores one head computes, for `lengths[modality]` tokens."""
        return sum(lengths[i] * lengths[j] for i in lengths for j in lengths if self.sees(i, j))

    def __str__(self) -> str:
        return self.text


SELF, MULTI = View("self"), View("multi")


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
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
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


def view_set(modalities: Iterable[str], *, one_way: bool = False) -> tuple[View, ...]:
    """The paper's set P: self and one cross view for each pair, m(m-1)/2 + 1 in all.

    With `one_way` the m(m-1) views `a>b`, which are not in the paper's set, follow them.
    """
    names = check_modalities(modalities)
    ones = (View(f"{a}>{b}") for a, b in permutations(names, 2)) if one_way else ()
    return (SELF, *(View(f"{a}~{b}") for a, b in combinations(names, 2)), *ones)


@lru_cache(maxsize=4096)
def _masks(view: View, modalities: tuple[str, ...]) -> tuple[int, ...]:
    """A as one integer per query modality, see `LayerViews.masks`."""
    return tuple(sum(view.sees(i, j) << bit for bit, j in enumerate(modalities)) for i in modalities)


@dataclass(frozen=True)
class LayerViews:
    """The views of one fusion layer's heads, in head order."""

    modalities: tuple[str, ...]
    heads: tuple[View, ...]
    masks: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """A as one integer per (head, query modality), head by head: bit j is set where key modality j is seen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", check_modalities(self.modalities))
        canonical = {view: self._canonical(view) for view in set(self.heads)}
        object.__setattr__(self, "heads", tuple(canonical[view] for view in self.heads))
        if not self.heads:
            raise ViewError("expected at least one head, got none")
        object.__setattr__(self, "masks", tuple(mask for view in self.heads for mask in _masks(view, self.modalities)))

    def _canonical(self, view: View) -> View:
        """a~b and b~a are one view: it is written in the order of the modalities."""
        for name in view.pair:
            if name not in self.modalities:
                raise ViewError(
                    f"view {view} names modality {name!r}, which is not one of {', '.join(self.modalities)}"
                )
        if view.link == "~":
            return View("~".join(sorted(view.pair, key=self.modalities.index)))
        return view

    @classmethod
    def parse(cls, text: str, modalities: Iterable[str]) -> LayerViews:
        """Read `"self:6 video~audio:6"`; a view may come up more than once, the order is the head order."""
        heads: list[View] = []
        for item in text.split():
            view, colon, count = item.partition(":")
            if not colon or not count.isdecimal() or not count.strip("0"):
                raise ViewError(f"expected 'view:heads' with a whole number of heads above 0, got {item!r:.60}")
            if len(count) > 9 or len(heads) + int(count) > MOST_HEADS:
                raise ViewError(f"expected at most {MOST_HEADS:,} heads of a layer, got {item!r:.60}")
            heads += [View(view)] * int(count)
        return cls(tuple(modalities), tuple(heads))

    def __str__(self) -> str:
        return " ".join(f"{view}:{len(list(run))}" for view, run in groupby(self.heads))

    @property
    def frequencies(self) -> dict[str, int]:
        """How many heads hold each view (the paper's view frequency), in order of first appearance."""
        return dict(Counter(view.text for view in self.heads))

    @property
    def allowed(self) -> torch.Tensor:
        """A of every head as a bool tensor `[H, m, m]`."""
        import torch  # the tables themselves are plain data

        names = self.modalities
        return torch.tensor([[[view.sees(i, j) for j in names] for i in names] for view in self.heads])

    @cached_property
    def grouped(self) -> tuple[int, ...]:
        """The head order that lays the heads of one view side by side: position -> head of this table."""
        first = {view: self.heads.index(view) for view in self.heads}
        return tuple(sorted(range(len(self.heads)), key=lambda head: (first[self.heads[head]], head)))

    def ordered(self, order: Sequence[int]) -> LayerViews:
        """The same views with the heads in another order."""
        return LayerViews(self.modalities, tuple(self.heads[head] for head in order))

    def score_pairs(self, lengths: Mapping[str, int]) -> int:
        """Sum of C(view) over the heads."""
        return sum(count * View(view).score_pairs(lengths) for view, count in self.frequencies.items())


@dataclass(frozen=True)
class ViewTable:
    """The whole model's views: one `LayerViews` a fusion layer, from the lowest layer up."""

    layers: tuple[LayerViews, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ViewError("expected at least one fusion layer, got none")
        for number, layer in enumerate(self.layers[1:], start=2):
            if layer.modalities != self.modalities:
                raise ViewError(
                    f"line {number}: layer has modalities {', '.join(layer.modalities)}, "
                    f"the first has {', '.join(self.modalities)}"
                )
            if len(layer.heads) != self.num_heads:
                raise ViewError(
                    f"line {number}: expected {self.num_heads} heads as in the first layer, got {len(layer.heads)}"
                )

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.layers[0].modalities

    @property
    def num_heads(self) -> int:
        return len(self.layers[0].heads)

    @classmethod
    def parse(cls, text: str, modalities: Iterable[str]) -> ViewTable:
        """Read a table: one line a fusion layer, blank lines and `#` comments passed over."""
        names = check_modalities(modalities)
        lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), start=1)]
        count = sum(bool(content) for _, content in lines)
        layers: list[LayerViews] = []
        for number, content in lines:
            if content:
                try:
                    layers.append(LayerViews.parse(content, names))
                    check_size(count, len(layers[-1].heads), len(names))
                except ViewError as error:
                    raise ViewError(f"line {number}: {error}") from None
        return cls(tuple(layers))

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))

    @classmethod
    def uniform(cls, view: View | str, modalities: Iterable[str], layers: int, heads: int) -> ViewTable:
        """Every head of every layer holds the same view: Selfall is `self`, Multiall is `multi`."""
        view = View(view) if isinstance(view, str) else view
        return cls((LayerViews(tuple(modalities), (view,) * heads),) * layers)

    @classmethod
    def strategy(
        cls,
        name: str,
        modalities: Iterable[str],
        *,
        layers: int,
        heads: int,
        cross: float = 0.5,
        seed: int = 0,
    ) -> ViewTable:
        """A table by one of `STRATEGIES`; all of them hold the same number of cross heads in total.

        Args:
            name: `spread` (the same mix in every layer), `bottleneck` (one narrow band in the middle is
                cross, the rest self), `alternating` (self and cross layers take turns), `random` (heads drawn
                at random), `ascending` (self below, cross above, in even steps) or `descending` (its mirror).
            modalities: at least two names; the cross heads go round the pairs in turn.
            cross: the fraction of all heads that are cross, in [0, 1].
            seed: of the random draw; the other strategies do not use it.

        Raises:
            ViewError: the name is unknown, `cross` is outside [0, 1], or there is no pair to look across.
        """
        names = check_modalities(modalities)
        if name not in STRATEGIES:
            raise ViewError(f"expected a strategy out of {', '.join(STRATEGIES)}, got {name!r}")
        if not 0 <= cross <= 1:
            raise ViewError(f"expected the fraction of cross heads to lie in [0, 1], got {cross}")
        if layers < 1 or heads < 1:
            raise ViewError(f"expected at least one layer and one head, got {layers} layers, {heads} heads")
        check_size(layers, heads, len(names))
        pairs = view_set(names)[1:]
        total = round(cross * layers * heads)
        if total and not pairs:
            raise ViewError(
                f"cross heads need two modalities, got {names[0]!r} alone; set cross to 0 or fusion to 'selfall'"
            )
        is_cross = _random_heads(layers, heads, total, seed) if name == "random" else None
        if is_cross is None:
            counts = _cross_counts(name, layers, heads, total)
            is_cross = [[head >= heads - count for head in range(heads)] for count in counts]
        turn = 0
        rows = []
        for row in is_cross:
            views = []
            for crosses in row:
                views.append(pairs[turn % len(pairs)] if crosses else SELF)
                turn += crosses
            rows.append(LayerViews(names, tuple(views)))
        return cls(tuple(rows))

    def score_pairs(self, lengths: Mapping[str, int]) -> int:
        """Sum of C(view) over all heads of all layers."""
        return sum(layer.score_pairs(lengths) for layer in self.layers)


def _random_heads(layers: int, heads: int, total: int, seed: int) -> list[list[bool]]:
    chosen = set(random.Random(seed).sample(range(layers * heads), total))
    return [[layer * heads + head in chosen for head in range(heads)] for layer in range(layers)]


def _cross_counts(name: str, layers: int, heads: int, total: int) -> list[int]:
    """How many heads of each layer are cross."""
    if name == "descending":
        return _cross_counts("ascending", layers, heads, total)[::-1]
    if name in ("spread", "ascending"):
        weights = [1.0] * layers if name == "spread" or layers == 1 else _ramp(layers, total / (layers * heads))
        return _apportion(weights, heads, total)
    band = -(-total // heads)  # how many layers it takes to hold all cross heads
    if name == "bottleneck":
        start = (layers - band) // 2
        order = list(range(start, start + band))
    else:  # alternating: the cross layers lie as evenly as they can, the topmost layer is one of them
        order = [((n + 1) * layers) // band - 1 for n in range(band)][::-1]
    counts = [0] * layers
    for n, layer in enumerate(order):
        counts[layer] = min(heads, total - n * heads)
    return counts


def _ramp(layers: int, cross: float) -> list[float]:
    """A straight line from the lowest to the highest layer with mean `cross`, as far as [0, 1] allows."""
    steps = [layer / (layers - 1) for layer in range(layers)]
    if cross <= 0.5:
        return [2 * cross * step for step in steps]
    return [1 - 2 * (1 - cross) * (1 - step) for step in steps]


def _apportion(weights: Sequence[float], heads: int, total: int) -> list[int]:
    """Whole numbers in proportion to `weights` that add up to `total`, none above `heads`."""
    scale = sum(weights) or 1.0
    shares = [total * weight / scale for weight in weights]
    counts = [min(heads, int(share)) for share in shares]
    # What rounding left over goes to the largest remainders, upper layers first among equals.
    order = sorted(range(len(weights)), key=lambda n: (counts[n] - shares[n], -n))
    while (left := total - sum(counts)) > 0:
        for n in [n for n in order if counts[n] < heads][:left]:
            counts[n] += 1
    return counts
