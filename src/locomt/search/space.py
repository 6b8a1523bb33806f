"""The tables that a search chooses from, and the cost of each view and table in FLOPs or in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from locomt.cost import computed_pairs, head_pairs, token_counts
from locomt.nn.config import FusionConfig
from locomt.search.budget import Budget, SearchError
from locomt.views import MULTI, View, ViewTable, view_set

GIGA = 10**9
NANOSECONDS = 10**6
"""Nanoseconds in a millisecond."""


@dataclass(frozen=True)
class Space:
    """The tables that a search chooses from: one of `views` for every head of every fusion layer.

    `price`, `cost`, `multiall` and `limit` are whole numbers: nanoseconds if there are `times`, else score pairs. They
    are of what is computed: in the last layer, the queries that the head reads. What a table leaves unread besides, by
    its views, is not in a price, for it depends on all heads; so that a table takes what its prices add up to, or less
    (`figures`).

    Attributes:
        config: a model of the size to search for. Its fusion does not matter.
        one_way: whether heads may also look one way (`a>b`), which is not in the paper's set.
        times: nanoseconds of one head of each view on a device, also of `multi` and the one-way views.
        last_times: those of the last layer.
    """

    config: FusionConfig
    one_way: bool = False
    times: Mapping[View, int] | None = None
    last_times: Mapping[View, int] | None = None

    def __post_init__(self) -> None:
        if len(self.config.modalities) < 2:
            raise SearchError(
                f"expected two modalities or more, got {', '.join(self.config.modalities)} alone: it can look nowhere "
                "but at itself"
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.config.modalities)

    @property
    def layers(self) -> int:
        return self.config.fusion_layers

    @property
    def heads(self) -> int:
        return self.config.num_heads

    @property
    def head_width(self) -> int:
        return self.config.width // self.config.num_heads

    @cached_property
    def tokens(self) -> dict[str, int]:
        """L_i of full-length samples."""
        return token_counts(self.config)

    @cached_property
    def class_tokens(self) -> dict[str, int]:
        """How many of them are class tokens, which come first."""
        return self.config.layout.class_tokens

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The views to choose from: the paper's set P, and the one-way views if `one_way`."""
        return view_set(self.modalities, one_way=self.one_way)

    @cached_property
    def all_views(self) -> tuple[View, ...]:
        """All views that any search of this model may use, and `multi`."""
        return (MULTI, *view_set(self.modalities, one_way=True))

    @cached_property
    def _pairs(self) -> dict[View, tuple[int, ...]]:
        return {view: head_pairs(self.config, view) for view in self.all_views}

    def pairs(self, view: View, layer: int) -> int:
        """The score pairs of one head of a fusion layer, whatever the unit of the budget."""
        return self._pairs[view][layer]

    def price(self, view: View, layer: int) -> int:
        """What one head of a fusion layer counts against the budget; layers are counted from 0, the lowest."""
        if self.times is None:
            return self.pairs(view, layer)
        times = self.times if layer < self.layers - 1 or self.last_times is None else self.last_times
        return times[view]

    def prices(self, layer: int) -> dict[View, int]:
        """Of all views to choose from."""
        return {view: self.price(view, layer) for view in self.views}

    def cost(self, table: ViewTable) -> int:
        """What a table counts against the budget: the sum over its heads."""
        return sum(self.price(view, number) for number, layer in enumerate(table.layers) for view in layer.heads)

    def with_table(self, table: ViewTable) -> FusionConfig:
        """The model with this table."""
        return replace(self.config, fusion="locomt", views=str(table))

    @cached_property
    def dense(self) -> ViewTable:
        """Multiall's table."""
        return ViewTable.uniform(MULTI, self.modalities, self.layers, self.heads)

    @cached_property
    def multiall(self) -> int:
        """The cost of Multiall."""
        return self.cost(self.dense)

    def limit(self, budget: Budget) -> int:
        """The most that a table may cost within a budget.

        Raises:
            SearchError: no table is as cheap, or the budget is a time and none was measured.
        """
        if budget.unit == "ms" and self.times is None:
            raise SearchError(
                f"budget: got {str(budget)!r}, but the views' times have not been measured here; give a share of "
                "Multiall's attention FLOPs, such as 0.5, or a number of them, such as 12gflops"
            )
        assert (budget.unit == "ms") == (self.times is not None)
        units: dict[str, int | Fraction] = {
            "share": self.multiall,
            "gflops": Fraction(GIGA, 4 * self.head_width),
            "ms": NANOSECONDS,
        }
        most = int(budget.amount * units[budget.unit])
        least = self.heads * sum(min(self.prices(layer).values()) for layer in range(self.layers))
        if most < least:
            raise SearchError(f"budget {budget} is below what any table costs: the cheapest takes {self.worded(least)}")
        return most

    @property
    def unit(self) -> str:
        """The unit in which costs are reported: `gflops` or `ms`."""
        return "gflops" if self.times is None else "ms"

    def amount(self, cost: int) -> float:
        """A cost in `unit`."""
        return self.gflops(cost) if self.times is None else cost / NANOSECONDS

    def worded(self, cost: int) -> str:
        """A cost in words, for a message."""
        share, amount = f"{cost / self.multiall:.4f} of Multiall's", f"{self.amount(cost):.4g}"
        if self.times is None:
            return f"{share} attention FLOPs in the fusion layers, or {amount} GFLOPs"
        return f"{amount} ms, {share}, by the times measured"

    def gflops(self, pairs: int) -> float:
        """Score pairs as 10^9 FLOPs: 4 d C."""
        return 4 * self.head_width * pairs / GIGA

    def figures(self, table: ViewTable) -> dict[str, float]:
        """A table's cost for reports: `gflops` computed, their `share` of Multiall's, and `ms` if there are times."""
        pairs, dense = (computed_pairs(self.with_table(t)) for t in (table, self.dense))
        found = {"gflops": self.gflops(pairs), "share": pairs / dense}
        return found if self.times is None else found | {"ms": self.amount(self.cost(table))}
