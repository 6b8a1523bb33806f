"""The choice of a view for every head: a categorical variable each, trained along with the weights by gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from locomt.cost import head_pairs
from locomt.cost.knapsack import BudgetError, choose, need_solver
from locomt.nn.attention import ViewMixture
from locomt.nn.config import ConfigError, FusionConfig
from locomt.train.views.learned_config import LearnViews
from locomt.views import MULTI, LayerViews, View, ViewTable, view_set

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def _prices(views: Sequence[View], config: FusionConfig, settings: LearnViews) -> list[list[float]]:
    """What one head of each view counts against the budget, layer by layer."""
    if not settings.prices:
        return [list(map(float, layer)) for layer in zip(*(head_pairs(config, view) for view in views), strict=True)]
    below, last = settings.prices, settings.last_prices or settings.prices
    for name, prices in (("prices", below), ("last_prices", last)):
        if missing := [view.text for view in views if view.text not in prices]:
            raise ConfigError(
                f"train.learn_views.{name}: expected a price of each of {', '.join(map(str, views))}, got none of "
                f"{', '.join(missing)}"
            )
    layers = [below] * (config.fusion_layers - 1) + [last]
    return [[prices[view.text] for view in views] for prices in layers]


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
        every = _prices((MULTI, *self.views), config, settings)
        self.prices = [own for _, *own in every for _ in range(config.num_heads)]
        self.multiall = config.num_heads * sum(own[0] for own in every)
        # A share that was made from a whole number must come out as that number again.
        self.limit = math.floor(settings.budget * self.multiall * (1 + 1e-12))
        places = (config.fusion_layers, config.num_heads)
        least = sum(map(min, self.prices))
        if least > self.limit:
            raise BudgetError(
                f"train.learn_views.budget: expected {least / self.multiall:.4f} or more, which the cheapest table "
                f"takes, got {settings.budget:g}"
            )
        self.logits = nn.Parameter(torch.zeros(*places, len(self.views)))
        self.register_buffer("chosen", torch.full(places, -1))
        costs = torch.tensor([[n / self.limit for n in own] for own in self.prices]).view(*places, -1)
        self.register_buffer("costs", costs, persistent=False)

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
