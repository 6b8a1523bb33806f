"""Entries of tables that were tried: which are the same, which are on the Pareto front, which is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Entry = dict[str, Any]
"""A table that was tried, in plain JSON types; docs/search.md explains the fields."""


def key(entry: Mapping[str, Any]) -> tuple[str, str | None]:
    """What identifies an entry: the table and the weights that training started from."""
    return entry["views"], entry["start"]


def merged(old: Sequence[Entry], new: Sequence[Entry], unit: str = "gflops") -> list[Entry]:
    """All entries, each once, the cheapest first. A table that was tried again keeps the names of both times."""
    entries = {key(entry): entry for entry in old}
    for entry in new:
        names = entries.get(key(entry), entry)["names"]
        entries[key(entry)] = entry | {"names": list(dict.fromkeys([*names, *entry["names"]]))}
    return sorted(entries.values(), key=lambda entry: (entry[unit], *map(str, key(entry))))


def front(entries: Sequence[Entry], better: str, unit: str = "gflops") -> list[Entry]:
    """The Pareto front, the cheapest first: entries than which none is cheaper and as good, or as cheap and better."""
    sign = 1 if better == "more" else -1
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry[unit], -sign * entry["mean"])):
        last = kept[-1] if kept else None
        same = last and (entry[unit], entry["mean"]) == (last[unit], last["mean"])
        if last is None or same or sign * entry["mean"] > sign * last["mean"]:
            kept.append(entry)
    return kept


def best(entries: Sequence[Entry], better: str, unit: str = "gflops") -> Entry:
    """The entry with the best mean; among equal ones the cheapest, then the first."""
    sign = 1 if better == "more" else -1
    return max(entries, key=lambda entry: (sign * entry["mean"], -entry[unit]))
