"""Tables to train and score, and the runs that this takes."""

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
        names: of the table; several where they turn out the same.
        recipe: with the table in it, and what else is not as in the search's recipe.
        facts: further fields of its entry.
    """

    table: ViewTable
    names: tuple[str, ...]
    recipe: Recipe
    facts: Mapping[str, Any] = field(default_factory=dict)

    def job(self, root: Path, seed: int) -> Job:
        """The run with one seed, in a directory that all searches of the same recipe share."""
        train = self.recipe.train
        what = str(self.table)
        if train.start:  # by its place beside these runs, with which it may be moved
            place = os.path.relpath(train.start, root)
            what += f"\n{train.epochs} epochs of {train.epoch_samples or 'all'} samples from {place}"
        folder = root / hashlib.sha256(what.encode()).hexdigest()[:12]
        return Job.seeded(self.names[0], self.recipe, seed, folder, test=False)  # the test split has no part in it


def with_table(recipe: Recipe, table: ViewTable) -> Recipe:
    """The recipe for a LoCoMT of this table."""
    return recipe.fused("locomt", str(table))


def named(tables: Mapping[str, ViewTable], recipe: Recipe) -> list[Candidate]:
    """The tables as candidates; those of several names once."""
    names: dict[ViewTable, list[str]] = {}
    for name, table in tables.items():
        names.setdefault(table, []).append(name)
    return [Candidate(table=table, names=tuple(own), recipe=with_table(recipe, table)) for table, own in names.items()]


def dense_job(recipe: Recipe, seed: int, root: Path) -> Job:
    """The training of Multiall."""
    return Job.seeded("multiall", recipe.fused("multiall"), seed, root / "multiall", test=False)
