"""Views that are learned: every head's is a categorical variable, trained along with the weights by gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from locomt.cost import token_counts
from locomt.cost.knapsack import BudgetError, choose, need_solver
from locomt.nn.attention import ViewMixture
from locomt.nn.config import ConfigError, FusionConfig
from locomt.nn.fields import check_types
from locomt.views import MULTI, LayerViews, View, ViewTable, view_set

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, kw_only=True)
class LearnViews:
    """The field `learn_views` of a recipe's section `train`: how views are learned where `views` is `learned`.

    Attributes:
        budget: bound on what the fusion layers' attention costs, as a share of what Multiall's does.
        prices: what a head of each view, and of `multi`, costs in some unit, such as a time; left out, its FLOPs.
        one_way: whether heads may look one way besides (`a>b`), which is not in the paper's set.
        until: the share of the epochs after which the table is fixed; one epoch at least comes before and after.
        learning_rate: of the logits, which have an Adam of their own, without a schedule.
        temperature: of the Gumbel-softmax in the first step.
        last_temperature: in the last step before the table is fixed; in between it falls by the same factor every step.
        cost_weight: what is added to the loss for a table expected to be twice as costly as the budget allows.
    """

    budget: float = 0.5
    prices: dict[str, float] = field(default_factory=dict)
    one_way: bool = False
    until: float = 0.7
    learning_rate: float = 0.05
    temperature: float = 2.0
    last_temperature: float = 0.5
    cost_weight: float = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.budget <= 1:
            raise ConfigError(f"budget: expected a share above 0 and up to 1, got {self.budget}")
        if not 0 <= self.until <= 1:
            raise ConfigError(f"until: expected [0, 1], got {self.until}")
        for name in ("learning_rate", "temperature", "last_temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}: expected above 0, got {getattr(self, name)}")
        for view, price in self.prices.items():
            if isinstance(price, bool) or not isinstance(price, int | float) or not 0 < price < math.inf:
                raise ConfigError(f"prices.{view}: expected a number above 0, got {price!r}")
        if not 0 <= self.cost_weight < math.inf:
            raise ConfigError(f"cost_weight: expected 0 or more, got {self.cost_weight}")

    def check(self, epochs: int) -> None:
        """Raises `ConfigError` where a run is too short."""
        if epochs < 2:
            raise ConfigError(
                "train.views 'learned': expected train.epochs of 2 or more, some before the table is fixed and some "
                f"after, got {epochs}"
            )

    def epochs(self, total: int) -> int:
        """How many of a run's epochs come before the table is fixed."""
        return min(max(1, round(self.until * total)), total - 1)

    def temperature_at(self, progress: float) -> float:
        """The temperature, `progress` going from 0 to 1 until the table is fixed."""
        return float(self.temperature * (self.last_temperature / self.temperature) ** min(1.0, progress))


def _prices(views: Sequence[View], config: FusionConfig, settings: LearnViews) -> list[float]:
    """What one head of each view counts against the budget."""
    if not settings.prices:
        tokens = token_counts(config)
        return [view.score_pairs(tokens) for view in views]
    if missing := [view.text for view in views if view.text not in settings.prices]:
        raise ConfigError(
            f"train.learn_views.prices: expected a price of each of {', '.join(map(str, views))}, got none of "
            f"{', '.join(missing)}"
        )
    return [settings.prices[view.text] for view in views]


class ViewChoice(nn.Module):
    """One categorical variable a head over the views of the paper's set P, and what the tables they make cost.

    Straight-through Gumbel-softmax (Jang, Gu & Poole, ICLR 2017, arXiv 1611.01144): a step draws a view for every head
    and runs the model with it, exactly; the gradient is that of the softmax from which it was drawn.

    Attributes:
        logits: `[layers, heads, V]`, parameters; 0 at first.
        chosen: `[layers, heads]`, int: the views once they are fixed, -1 before.

    Raises:
        BudgetError: no table is as cheap as the budget wants it, or scipy is not installed.
        ConfigError: a view has no price.
    """

    chosen: Tensor
    costs: Tensor

    def __init__(self, config: FusionConfig, settings: LearnViews) -> None:
        super().__init__()
        need_solver()
        self.modalities = tuple(config.modalities)
        self.views = view_set(self.modalities, one_way=settings.one_way)
        multi, *self.prices = _prices((MULTI, *self.views), config, settings)
        self.multiall = config.fusion_layers * config.num_heads * multi
        # A share that was made from a whole number must come out as that number again.
        self.limit = math.floor(settings.budget * self.multiall * (1 + 1e-12))
        places = (config.fusion_layers, config.num_heads)
        least = math.prod(places) * min(self.prices)
        if least > self.limit:
            raise BudgetError(
                f"train.learn_views.budget: expected {least / self.multiall:.4f} or more, which the cheapest table "
                f"takes, got {settings.budget:g}"
            )
        self.logits = nn.Parameter(torch.zeros(*places, len(self.views)))
        self.register_buffer("chosen", torch.full(places, -1))
        self.register_buffer("costs", torch.tensor([n / self.limit for n in self.prices]), persistent=False)

    @property
    def fixed(self) -> bool:
        return bool((self.chosen >= 0).all())

    def sample(self, temperature: float) -> ViewMixture:
        """A view drawn for every head: weights that are exactly one-hot, and whose gradient is the softmax's.

        The draw is from the CPU's generator, whatever the device.
        """
        gumbel = -torch.empty(self.logits.shape).exponential_().log()
        soft = ((self.logits + gumbel.to(self.logits.device)) / temperature).softmax(-1)
        hard = one_hot(soft.argmax(-1), len(self.views)).to(soft.dtype)
        return ViewMixture(self.views, hard + (soft - soft.detach()))

    @property
    def probabilities(self) -> Float[Tensor, "layers heads views"]:
        """Of the views, or where they are fixed 1 and 0."""
        return one_hot(self.chosen, len(self.views)).float() if self.fixed else self.logits.softmax(-1)

    def cost(self) -> Float[Tensor, ""]:
        """The cost that is to be expected, over that of the budget."""
        return (self.probabilities * self.costs).sum()

    def best(self) -> Int[Tensor, "layers heads"]:
        """The likeliest views that together are within the budget, exactly."""
        values = self.logits.detach().double().log_softmax(-1).flatten(0, 1).cpu().numpy()
        return torch.tensor(choose(values, self.prices, self.limit)).view(self.chosen.shape)

    def table(self, chosen: Int[Tensor, "layers heads"]) -> ViewTable:
        """Numbers of views as a table."""
        return ViewTable(
            tuple(LayerViews(self.modalities, tuple(self.views[n] for n in row)) for row in chosen.tolist())
        )
