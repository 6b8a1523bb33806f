"""The tables that a search chooses from, and what each view and table costs: in FLOPs, or in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from locomt.cost import token_counts
from locomt.nn.config import FusionConfig
from locomt.search.budget import Budget, SearchError
from locomt.views import MULTI, View, ViewTable, view_set

GIGA = 10**9
NANOSECONDS = 10**6
"""In a millisecond."""


@dataclass(frozen=True)
class Space:
    """The tables that a search chooses from: one view out of `views` for every head of every fusion layer.

    What counts against a budget, `price`, `cost`, `multiall` and `limit`, is a whole number of score pairs, or of
    nanoseconds where there are `times`.

    Attributes:
        config: a model of the size searched, whatever its fusion.
        one_way: whether heads may look one way besides (`a>b`), which is not in the paper's set.
        times: nanoseconds of one head of each view, `multi` and the one-way views too, on some device.
    """

    config: FusionConfig
    one_way: bool = False
    times: Mapping[View, int] | None = None

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
        """L_i of full samples."""
        return token_counts(self.config)

    @cached_property
    def class_tokens(self) -> dict[str, int]:
        """How many of them, at the front, are class tokens."""
        return self.config.layout.class_tokens

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The paper's set P, and the one-way views where they are asked for."""
        return view_set(self.modalities, one_way=self.one_way)

    @cached_property
    def all_views(self) -> tuple[View, ...]:
        """All that any search of this model may have."""
        return (MULTI, *view_set(self.modalities, one_way=True))

    def pairs(self, view: View) -> int:
        """C of one head, whatever the unit of budgets."""
        return view.score_pairs(self.tokens, self.class_tokens)

    def price(self, view: View) -> int:
        """What one head counts against the budget."""
        return self.pairs(view) if self.times is None else self.times[view]

    def cost(self, table: ViewTable) -> int:
        """What a table counts against the budget: the sum over its heads."""
        return sum(self.price(view) for layer in table.layers for view in layer.heads)

    @cached_property
    def dense(self) -> ViewTable:
        """Multiall's table."""
        return ViewTable.uniform(MULTI, self.modalities, self.layers, self.heads)

    @cached_property
    def multiall(self) -> int:
        """The cost of Multiall."""
        return self.cost(self.dense)

    def limit(self, budget: Budget) -> int:
        """The most that a table's cost may be.

        Raises:
            SearchError: no table is as cheap, or a time is asked for where none was measured.
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
        least = self.layers * self.heads * min(map(self.price, self.views))
        if most < least:
            raise SearchError(f"budget {budget} is below what any table costs: the cheapest takes {self.worded(least)}")
        return most

    @property
    def unit(self) -> str:
        """What costs are told in: `gflops` or `ms`."""
        return "gflops" if self.times is None else "ms"

    def amount(self, cost: int) -> float:
        """A cost in `unit`."""
        return self.gflops(cost) if self.times is None else cost / NANOSECONDS

    def worded(self, cost: int) -> str:
        """A cost for a message."""
        share, amount = f"{cost / self.multiall:.4f} of Multiall's", f"{self.amount(cost):.4g}"
        if self.times is None:
            return f"{share} attention FLOPs in the fusion layers, or {amount} GFLOPs"
        return f"{amount} ms, {share}, by the times measured"

    def gflops(self, pairs: int) -> float:
        """Score pairs as 10^9 FLOPs: 4 d C."""
        return 4 * self.head_width * pairs / GIGA

    def figures(self, table: ViewTable) -> dict[str, float]:
        """What is told of a table's cost: `gflops`, their `share` of Multiall's, and `ms` where there are times."""
        pairs, dense = (t.score_pairs(self.tokens, self.class_tokens) for t in (table, self.dense))
        found = {"gflops": self.gflops(pairs), "share": pairs / dense}
        return found if self.times is None else found | {"ms": self.amount(self.cost(table))}
