"""The last choice of a search: train the best tables with more and more seeds, and keep the better half each time.

One run says little of a table where runs differ by their seeds more than by their tables. Successive halving (Jamieson
& Talwalkar, AISTATS 2016) gives every round as many runs, so that the fewer tables are left, the better each is known.
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
"""Of their heads: tables that differ in no more than this are as good as one, and one of them takes part."""


def decide(work: Work, found: Sequence[tuple[Candidate, Entry]], runs: int) -> list[Entry]:
    """Train the best tables as the recipe says, whatever weights their scores come from.

    Args:
        found: all scored tables. Runs from the recipe's own start count as the first ones here.
        runs: to train besides these, 2 or more; some may be left over.

    Returns:
        The entries of the last round; none where no two tables differ.
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
    """The most tables, a power of two, that get a run each in every round that they are in."""
    tables, rounds = 2, 1
    while 2 * tables * (rounds + 1) <= runs:
        tables, rounds = 2 * tables, rounds + 1
    return tables


def _apart(ahead: Sequence[tuple[Candidate, Entry]], count: int) -> list[tuple[Candidate, Entry]]:
    """The first so many that differ from each one before."""
    taken: list[tuple[Candidate, Entry]] = []
    for one in ahead:
        if len(taken) < count and all(differing(one[0].table, other.table) > NEAR for other, _ in taken):
            taken.append(one)
    return taken


def differing(table: ViewTable, other: ViewTable) -> float:
    """The share of heads with another view; the order of a layer's heads does not count."""
    changed = 0
    for own, layer in zip(table.layers, other.layers, strict=True):
        changed += sum((Counter(own.heads) - Counter(layer.heads)).values())
    return changed / (len(table.layers) * table.num_heads)
