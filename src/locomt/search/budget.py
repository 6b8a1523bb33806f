"""What the fusion layers' attention may cost, and what each view and table does cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from locomt.cost import token_counts
from locomt.nn.config import FusionConfig
from locomt.views import MULTI, View, ViewTable, view_set

GIGA = 10**9
FORM = re.compile(r"(\d+\.?\d*|\.\d+)\s*([a-z]*)")


class SearchError(ValueError):
    """A search that cannot be made: says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Budget:
    """A bound on the attention FLOPs of the fusion layers: forward pass of one sample with all its tokens.

    Attributes:
        amount: how much.
        unit: `share` (of Multiall's attention FLOPs in the fusion layers) or `gflops`.
    """

    amount: Fraction
    unit: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `0.5` or `12gflops`.

        Raises:
            SearchError: it is neither, or a share outside (0, 1].
        """
        found = FORM.fullmatch(text.strip().lower())
        if found and found[2] == "ms":
            raise SearchError(
                f"budget: got {text!r}, but times are not measured view by view yet; give a share of Multiall's "
                "attention FLOPs, such as 0.5, or a number of them, such as 12gflops"
            )
        if not found or found[2] not in ("", "gflops"):
            raise SearchError(
                "budget: expected a share of Multiall's attention FLOPs in the fusion layers, such as 0.5, or a number "
                f"of them, such as 12gflops, got {text!r}"
            )
        budget = cls(Fraction(found[1]), found[2] or "share")
        if budget.amount <= 0 or (budget.unit == "share" and budget.amount > 1):
            wanted = "above 0 and up to 1" if budget.unit == "share" else "above 0"
            raise SearchError(f"budget: expected {'a share ' * (budget.unit == 'share')}{wanted}, got {text!r}")
        return budget

    def __str__(self) -> str:
        return f"{float(self.amount):g}" + ("gflops" if self.unit == "gflops" else "")


@dataclass(frozen=True)
class Space:
    """The tables that a search chooses from: one view out of `views` for every head of every fusion layer.

    Attributes:
        config: a model of the size searched, whatever its fusion.
        one_way: whether heads may look one way besides (`a>b`), which is not in the paper's set.
    """

    config: FusionConfig
    one_way: bool = False

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

    @cached_property
    def tokens(self) -> dict[str, int]:
        """L_i of full samples."""
        return token_counts(self.config)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The paper's set P, and the one-way views where they are asked for."""
        ones = (View(f"{a}>{b}") for a in self.modalities for b in self.modalities if a != b)
        return (*view_set(self.modalities), *(ones if self.one_way else ()))

    def pairs(self, view: View) -> int:
        """C of one head."""
        return view.score_pairs(self.tokens)

    @cached_property
    def multiall(self) -> int:
        """C of Multiall, all heads of all fusion layers."""
        return self.layers * self.heads * self.pairs(MULTI)

    def limit(self, budget: Budget) -> int:
        """The budget in score pairs, all heads of all fusion layers.

        Raises:
            SearchError: no table is as cheap.
        """
        one = self.multiall if budget.unit == "share" else Fraction(GIGA, 4 * self._head_width)
        most = int(budget.amount * one)
        least = self.layers * self.heads * min(map(self.pairs, self.views))
        if most < least:
            raise SearchError(
                f"budget {budget} is below what any table costs: the cheapest takes {least / self.multiall:.4f} of "
                f"Multiall's attention FLOPs in the fusion layers, or {self.gflops(least):.4g} GFLOPs"
            )
        return most

    @property
    def _head_width(self) -> int:
        return self.config.width // self.config.num_heads

    def gflops(self, pairs: int) -> float:
        """Score pairs as 10^9 FLOPs: 4 d C."""
        return 4 * self._head_width * pairs / GIGA

    def cost(self, table: ViewTable) -> int:
        """C of a table."""
        return table.score_pairs(self.tokens)
