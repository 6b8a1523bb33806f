"""One model for any view table: the tables that it is trained with at each step."""

from __future__ import annotations

import numpy as np

from locomt.views import SELF, LayerViews, ViewTable, view_set

PASSES = 3
"""Passes through the model at each step, one a table."""


def step_tables(table: ViewTable, seed: int, *step: int) -> tuple[ViewTable, ...]:
    """The tables of a step: all self, all cross and one at random.

    The sandwich rule of Yu & Huang (ICCV 2019): what is trained at both ends of a range, and somewhere between, serves
    all over it. The ends are those of cost, since no view of the paper's set takes more than self; all cross has the
    pairs in turn.

    Args:
        table: of the model's size, and nothing else is taken from it.
        seed: of the run.
        step: whole numbers that no other step of the run has, epoch and place in it: the tables depend on nothing else.
    """
    size = {"layers": len(table.layers), "heads": table.num_heads}
    names = table.modalities
    crosses = ViewTable.strategy("spread", names, cross=1.0, **size)
    drawn = random_table(table, np.random.default_rng((seed, *step)))
    return ViewTable.uniform(SELF, names, **size), crosses, drawn


def random_table(like: ViewTable, rng: np.random.Generator) -> ViewTable:
    """A table of the size of another: how many heads are cross is drawn first, so that all costs come about alike."""
    _, *pairs = view_set(like.modalities)
    shape = (len(like.layers), like.num_heads)
    crosses = rng.random(shape) < rng.random()
    chosen = np.where(crosses, 1 + rng.integers(len(pairs), size=shape), 0)
    views = (SELF, *pairs)
    rows = (tuple(views[view] for view in row) for row in chosen.tolist())
    return ViewTable(tuple(LayerViews(like.modalities, row) for row in rows))
