"""The final of a search: train the best tables with more and more seeds, and keep the better half each time.

One run says little about a table if scores vary more by seed than by table. Successive halving (Jamieson & Talwalkar,
AISTATS 2016) gives every round the same number of runs. So the fewer tables are left, the more seeds each gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from locomt.search.candidate import Candidate, with_table
from locomt.search.front import Entry
from locomt.search.work import Work
from locomt.views import ViewTable

NEAR = 1 / 8
"""A share of heads. Of tables that differ in no more than this, only the best takes part."""


def decide(work: Work, found: Sequence[tuple[Candidate, Entry]], runs: int) -> list[Entry]:
    """Train the best tables as the recipe says, whichever weights they were scored with.

    Args:
        found: all scored tables. Runs that start as the recipe says count as the first runs here.
        runs: how many more runs to train, 2 or more; some may be left over.

    Returns:
        The entries of the last round; none if no two tables differ.
    """
    sign = 1 if work.recipe.monitor_mode == "max" else -1
    ahead = sorted(found, key=lambda one: -sign * one[1]["mean"])
    left = [
        replace(candidate, recipe=with_table(work.recipe, candidate.table), facts={})
        for candidate, _ in _apart(ahead, _places(runs))
    ]
    seeds = len(work.question.all_seeds) if found[0][1]["start"] == work.recipe.train.start else 0
    entries: list[Entry] = []
    while len(left) > 1:
        rounds = (len(left) - 1).bit_length()
        more = runs // rounds // len(left)
        runs, seeds = runs - more * len(left), seeds + more
        first = work.recipe.train.seed
        entries = work.train(left, range(first, first + seeds))
        best = sorted(zip(left, entries, strict=True), key=lambda one: -sign * one[1]["mean"])
        left = [candidate for candidate, _ in best[: (len(left) + 1) // 2]]
    return entries


def _places(runs: int) -> int:
    """The most tables, a power of two, that so many runs suffice for: one in each round that a table is in."""
    tables, rounds = 2, 1
    while 2 * tables * (rounds + 1) <= runs:
        tables, rounds = 2 * tables, rounds + 1
    return tables


def _apart(ahead: Sequence[tuple[Candidate, Entry]], count: int) -> list[tuple[Candidate, Entry]]:
    """The first `count` tables that differ from each one taken before by more than `NEAR`."""
    taken: list[tuple[Candidate, Entry]] = []
    for one in ahead:
        if len(taken) < count and all(differing(one[0].table, other.table) > NEAR for other, _ in taken):
            taken.append(one)
    return taken


def differing(table: ViewTable, other: ViewTable) -> float:
    """The share of heads with different views. The order of heads within a layer does not count."""
    changed = 0
    for own, layer in zip(table.layers, other.layers, strict=True):
        changed += sum((Counter(own.heads) - Counter(layer.heads)).values())
    return changed / (len(table.layers) * table.num_heads)
