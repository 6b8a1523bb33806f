"""The field `learn_views` of a recipe's section `train`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from locomt.nn.fields import check_types
from locomt.require import require


@dataclass(frozen=True, kw_only=True)
class LearnViews:
    """The field `learn_views` of a recipe's section `train`: how views are learned where `views` is `learned`.

    Attributes:
        budget: bound on what the fusion layers' attention costs, as a share of what Multiall's does; in FLOPs, of what
            is computed (`locomt.cost.head_pairs`).
        prices: what a head of each view, and of `multi`, costs in some unit, such as a time; left out, its FLOPs.
        last_prices: in the last layer, of whose queries few are read; left out, as much as in the others.
        one_way: whether heads may look one way besides (`a>b`), which is not in the paper's set.
        until: the share of the epochs after which the table is fixed; one epoch at least comes before and after.
        learning_rate: of the logits, which have an Adam of their own, without a schedule.
        temperature: of the Gumbel-softmax in the first step.
        last_temperature: in the last step before the table is fixed; in between it falls by the same factor every step.
        cost_weight: what is added to the loss for a table expected to be twice as costly as the budget allows.
    """

    budget: float = 0.5
    prices: dict[str, float] = field(default_factory=dict)
    last_prices: dict[str, float] = field(default_factory=dict)
    one_way: bool = False
    until: float = 0.7
    learning_rate: float = 0.05
    temperature: float = 2.0
    last_temperature: float = 0.5
    cost_weight: float = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        require(0 < self.budget <= 1, f"budget: expected a share above 0 and up to 1, got {self.budget}")
        require(0 <= self.until <= 1, f"until: expected [0, 1], got {self.until}")
        for name in ("learning_rate", "temperature", "last_temperature"):
            require(0 < getattr(self, name) < math.inf, f"{name}: expected above 0, got {getattr(self, name)}")
        for name in ("prices", "last_prices"):
            for view, price in getattr(self, name).items():
                require(0 < price < math.inf, f"{name}.{view}: expected a number above 0, got {price!r}")
        require(
            bool(self.prices) or not self.last_prices, "last_prices: expected prices, of the other layers, beside it"
        )
        require(0 <= self.cost_weight < math.inf, f"cost_weight: expected 0 or more, got {self.cost_weight}")

    def check(self, epochs: int) -> None:
        """Raises `ConfigError` where a run is too short."""
        require(
            epochs >= 2,
            "train.views 'learned': expected train.epochs of 2 or more, some before the table is fixed and some after, "
            f"got {epochs}",
        )

    def epochs(self, total: int) -> int:
        """How many of a run's epochs come before the table is fixed."""
        return min(max(1, round(self.until * total)), total - 1)

    def temperature_at(self, progress: float) -> float:
        """The temperature, `progress` going from 0 to 1 until the table is fixed."""
        return float(self.temperature * (self.last_temperature / self.temperature) ** min(1.0, progress))
