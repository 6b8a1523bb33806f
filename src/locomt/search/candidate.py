"""Tables to train and score, and the runs for this."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from locomt.train.recipe import Recipe
from locomt.train.runs import Job
from locomt.views import ViewTable


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A table to train and score.

    Attributes:
        table: the views.
        names: the names of the table; several if they make the same table.
        recipe: the search's recipe with this table, and with what else differs.
        facts: further fields of its entry in the results.
    """

    table: ViewTable
    names: tuple[str, ...]
    recipe: Recipe
    facts: Mapping[str, Any] = field(default_factory=dict)

    def job(self, root: Path, seed: int) -> Job:
        """The training run with one seed. Its directory is shared by all searches of the same recipe."""
        train = self.recipe.train
        what = str(self.table)
        if train.start:  # by its path relative to these runs, together with which it may be moved
            place = os.path.relpath(train.start, root)
            what += f"\n{train.epochs} epochs of {train.epoch_samples or 'all'} samples from {place}"
        folder = root / hashlib.sha256(what.encode()).hexdigest()[:12]
        return Job.seeded(self.names[0], self.recipe, seed, folder, test=False)  # a search does not use the test split


def with_table(recipe: Recipe, table: ViewTable) -> Recipe:
    """The recipe for a LoCoMT of this table."""
    return recipe.fused("locomt", str(table))


def named(tables: Mapping[str, ViewTable], recipe: Recipe) -> list[Candidate]:
    """Make the tables candidates. A table with several names comes once."""
    names: dict[ViewTable, list[str]] = {}
    for name, table in tables.items():
        names.setdefault(table, []).append(name)
    return [Candidate(table=table, names=tuple(own), recipe=with_table(recipe, table)) for table, own in names.items()]


def dense_job(recipe: Recipe, seed: int, root: Path) -> Job:
    """The training run of Multiall."""
    return Job.seeded("multiall", recipe.fused("multiall"), seed, root / "multiall", test=False)
