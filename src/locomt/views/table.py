"""The views of a layer's heads, and of all fusion layers: the table that a model follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from locomt.views.names import MOST_BITS, MOST_HEADS, ViewError, check_modalities, check_size
from locomt.views.strategies import STRATEGIES, cross_heads
from locomt.views.view import SELF, View, view_set

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LayerViews:
    """The views of one fusion layer's heads, in head order."""

    modalities: tuple[str, ...]
    heads: tuple[View, ...]
    parts: int = field(init=False, repr=False, compare=False)
    """Segments of a modality (see `locomt.views.segments`): 2 where a head tells its class tokens apart, else 1."""
    masks: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """A as one integer per (head, query segment), head by head: bit j is set where key segment j is seen."""

    def __post_init__(self) -> None:
        names = check_modalities(self.modalities)
        object.__setattr__(self, "modalities", names)
        canonical = {view: self._canonical(view) for view in set(self.heads)}
        object.__setattr__(self, "heads", tuple(canonical[view] for view in self.heads))
        if not self.heads:
            raise ViewError("expected at least one head, got none")
        apart = next((view for view in self.heads if view.splits(names)), None)
        parts = 1 if apart is None else 2
        if apart is not None and parts * len(names) > MOST_BITS:
            raise ViewError(f"view {apart} takes at most {MOST_BITS // parts} modalities, got {len(names)}")
        masks = {view: view.masks(names, parts) for view in set(self.heads)}
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "masks", tuple(mask for view in self.heads for mask in masks[view]))

    def _canonical(self, view: View) -> View:
        """a~b and b~a are one view: it is written in the order of the modalities."""
        for name in view.pair:
            if name not in self.modalities:
                raise ViewError(
                    f"view {view} names modality {name!r}, which is not one of {', '.join(self.modalities)}"
                )
        if view.kind.swaps:
            return View(view.link.join(sorted(view.pair, key=self.modalities.index)))
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
        """A of every head as a bool tensor `[H, m, m]`: who sees some tokens of whom, or all."""
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

    def query_pairs(
        self, lengths: Mapping[str, int], class_tokens: Mapping[str, int] | None = None, *, own: bool = False
    ) -> dict[str, int]:
        """The scores that the queries of each modality take, summed over the heads; arguments as for a `View`."""
        totals = dict.fromkeys(lengths, 0)
        for view, count in Counter(self.heads).items():
            for name, pairs in view.query_pairs(lengths, class_tokens, own=own).items():
                totals[name] += count * pairs
        return totals

    def score_pairs(self, lengths: Mapping[str, int], class_tokens: Mapping[str, int] | None = None) -> int:
        """Sum of C(view) over the heads."""
        return sum(self.query_pairs(lengths, class_tokens).values())


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
        turn = 0
        rows = []
        for row in cross_heads(name, layers, heads, total, seed):
            views = []
            for crosses in row:
                views.append(pairs[turn % len(pairs)] if crosses else SELF)
                turn += crosses
            rows.append(LayerViews(names, tuple(views)))
        return cls(tuple(rows))

    def score_pairs(self, lengths: Mapping[str, int], class_tokens: Mapping[str, int] | None = None) -> int:
        """Sum of C(view) over all heads of all layers."""
        return sum(layer.score_pairs(lengths, class_tokens) for layer in self.layers)
