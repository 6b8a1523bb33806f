"""One model for any view table: the tables that it is trained with at each step."""

from __future__ import annotations

import numpy as np

from locomt.views import SELF, LayerViews, ViewTable, view_set

PASSES = 3
"""Passes through the model at each step, one a table."""


def step_tables(table: ViewTable, seed: int, *step: int) -> tuple[ViewTable, ...]:
    """The tables of a step: all cross, the pairs in turn, and two at random.

    The sandwich rule of Yu & Huang (ICCV 2019) trains both ends of a range at every step, and something between. All
    cross is the cheap end. The dear end, all self, is no network that the others descend from: it lacks what a task may
    be about, and where it cannot learn, a third of every step went into what serves no other table. It comes about by
    chance, like all the others.

    Args:
        table: of the model's size, and nothing else is taken from it.
        seed: of the run.
        step: whole numbers that no other step of the run has, epoch and place in it: the tables depend on nothing else.
    """
    crosses = ViewTable.strategy("spread", table.modalities, layers=len(table.layers), heads=table.num_heads, cross=1.0)
    rng = np.random.default_rng((seed, *step))
    return crosses, random_table(table, rng), random_table(table, rng)


def random_table(like: ViewTable, rng: np.random.Generator) -> ViewTable:
    """A table of the size of another: how many heads are cross is drawn first, so that all costs come about alike."""
    _, *pairs = view_set(like.modalities)
    shape = (len(like.layers), like.num_heads)
    crosses = rng.random(shape) < rng.random()
    chosen = np.where(crosses, 1 + rng.integers(len(pairs), size=shape), 0)
    views = (SELF, *pairs)
    rows = (tuple(views[view] for view in row) for row in chosen.tolist())
    return ViewTable(tuple(LayerViews(like.modalities, row) for row in rows))
