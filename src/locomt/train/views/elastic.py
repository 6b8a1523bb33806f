"""One model for any view table: the tables that it is trained with at each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from locomt.data import Batch
from locomt.train.module import FusionModule
from locomt.views import SELF, LayerViews, ViewTable, view_set

ENDS = {"self": 0.0, "cross": 1.0}
"""Of the range of costs: the share of cross heads."""


class ElasticModule(FusionModule):
    """Trains a model for any view table: the loss of a step is the mean over those of `step_tables`."""

    def _train_loss(self, batch: Batch, index: int) -> Tensor:
        train, own = self.recipe.train, self.model.table
        assert own is not None
        losses = []
        for table in step_tables(train.elastic_tables, own, train.seed, self.current_epoch, index):
            self.model.set_views(table)
            losses.append(super()._train_loss(batch, index))
        self.model.set_views(own)
        return torch.stack(losses).mean()


def step_tables(kinds: Sequence[str], table: ViewTable, seed: int, *step: int) -> tuple[ViewTable, ...]:
    """The tables of a step.

    `self`, `cross` and `random` are the sandwich rule of Yu & Huang (ICCV 2019), both ends of the range of costs and
    something between. The dear end, all self, is no network that the others descend from, as the widest one is there:
    it lacks what a task may be about, and where it cannot learn, its share of every step serves no other table. Left
    out, it comes about by chance, like all the others.

    Args:
        kinds: of each table, `train.elastic_tables`: `self`, all heads self; `cross`, all heads cross, over the pairs
            in turn; `random`, see `random_table`.
        table: of the model's size, and nothing else is taken from it.
        seed: of the run.
        step: whole numbers that no other step of the run has, epoch and place in it: the tables depend on nothing else.
    """
    rng = np.random.default_rng((seed, *step))
    size = {"layers": len(table.layers), "heads": table.num_heads}
    ends = {kind: ViewTable.strategy("spread", table.modalities, **size, cross=share) for kind, share in ENDS.items()}
    return tuple(random_table(table, rng) if kind == "random" else ends[kind] for kind in kinds)


def random_table(like: ViewTable, rng: np.random.Generator) -> ViewTable:
    """A table of the size of another: how many heads are cross is drawn first, so that all costs come about alike."""
    _, *pairs = view_set(like.modalities)
    shape = (len(like.layers), like.num_heads)
    crosses = rng.random(shape) < rng.random()
    chosen = np.where(crosses, 1 + rng.integers(len(pairs), size=shape), 0)
    views = (SELF, *pairs)
    rows = (tuple(views[view] for view in row) for row in chosen.tolist())
    return ViewTable(tuple(LayerViews(like.modalities, row) for row in rows))
