"""Entries of tables that were tried: which are the same, which are on the Pareto front, and which is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Entry = dict[str, Any]
"""A table that was tried, as plain JSON types; the fields are told in docs/search.md."""


def key(entry: Mapping[str, Any]) -> tuple[str, str | None]:
    """What makes two entries the same: the table, and the weights that training started from."""
    return entry["views"], entry["start"]


def merged(old: Sequence[Entry], new: Sequence[Entry], unit: str = "gflops") -> list[Entry]:
    """All entries, each once, the cheapest first; a table that was tried anew has the names of both times."""
    entries = {key(entry): entry for entry in old}
    for entry in new:
        names = entries.get(key(entry), entry)["names"]
        entries[key(entry)] = entry | {"names": list(dict.fromkeys([*names, *entry["names"]]))}
    return sorted(entries.values(), key=lambda entry: (entry[unit], *map(str, key(entry))))


def front(entries: Sequence[Entry], better: str, unit: str = "gflops") -> list[Entry]:
    """The entries than which none is both cheaper and as good, or as cheap and better; the cheapest first."""
    sign = 1 if better == "more" else -1
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry[unit], -sign * entry["mean"])):
        last = kept[-1] if kept else None
        same = last and (entry[unit], entry["mean"]) == (last[unit], last["mean"])
        if last is None or same or sign * entry["mean"] > sign * last["mean"]:
            kept.append(entry)
    return kept


def best(entries: Sequence[Entry], better: str, unit: str = "gflops") -> Entry:
    """The entry of the best mean; among equals the cheapest, then the first."""
    sign = 1 if better == "more" else -1
    return max(entries, key=lambda entry: (sign * entry["mean"], -entry[unit]))
