"""What the attention of the fusion layers may cost: a share of Multiall's, a number of FLOPs, or a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

FORM = re.compile(r"(\d+\.?\d*|\.\d+)\s*(|gflops|ms)")


class SearchError(ValueError):
    """A search cannot run: says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Budget:
    """A bound on the cost of attention in the fusion layers, in a forward pass of one full-length sample.

    FLOPs are those that are computed (`locomt.views.reads`), of Multiall too.

    Attributes:
        amount: how much.
        unit: `share` (of Multiall's attention FLOPs in the fusion layers), `gflops`, or `ms` (on a measured device).
    """

    amount: Fraction
    unit: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `0.5`, `12gflops` or `3.5ms`.

        Raises:
            SearchError: it is none of these, or a share outside (0, 1].
        """
        found = FORM.fullmatch(text.strip().lower())
        if not found:
            raise SearchError(
                "budget: expected a share of Multiall's attention FLOPs in the fusion layers, such as 0.5, a number of "
                f"them, such as 12gflops, or a time, such as 3.5ms, got {text!r}"
            )
        budget = cls(Fraction(found[1]), found[2] or "share")
        if budget.amount <= 0 or (budget.unit == "share" and budget.amount > 1):
            wanted = "above 0 and up to 1" if budget.unit == "share" else "above 0"
            raise SearchError(f"budget: expected {'a share ' * (budget.unit == 'share')}{wanted}, got {text!r}")
        return budget

    def __str__(self) -> str:
        return f"{float(self.amount):g}" + ("" if self.unit == "share" else self.unit)
