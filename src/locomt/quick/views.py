"""Views for the fused model of a fit, searched in the time that its minutes leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from locomt.search.budget import Budget
from locomt.search.question import Question
from locomt.search.search import search
from locomt.train.recipe import Recipe
from locomt.train.runs import Runner
from locomt.views import STRATEGIES

FEWEST, MOST = 3, 1 + len(STRATEGIES)
"""Tables: fewer are no choice, and so many the hand-made ones are."""
BUDGET = Budget.parse("1")
"""No table of LoCoMT costs more than if the modalities did not look at each other at all."""


def tables_for(seconds: float, run: float) -> int:
    """How many tables can be tried, a run each; 0 where there is no time for a choice.

    Args:
        seconds: that are left.
        run: that one run takes.
    """
    count = min(MOST, int(seconds / run))
    return count if count >= FEWEST else 0


def find_views(recipe: Recipe, out: Path, tables: int, runner: Runner) -> tuple[Recipe, Mapping[str, Any]]:
    """The recipe with the best of some view tables, by the validation split; what was tried.

    All hand-made tables where there is time for them, since searches that are as short find nothing better; else as
    many at random. What was tried in `out` before is not tried again.
    """
    hand_made = tables >= MOST
    question = Question(
        recipe=recipe,
        budget=BUDGET,
        method="strategies" if hand_made else "random",
        tables=None if hand_made else tables,
    )
    document = search(question, out, runner)
    model = replace(recipe.model, fusion="locomt", views=document["chosen"]["views"])
    return replace(recipe, model=model), document
