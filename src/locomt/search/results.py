"""What a search found: every table tried, the Pareto front, and the best table within the budget."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from locomt.cost import CONVENTION
from locomt.data import DataConfig, read_manifest
from locomt.files import to_json, write_text
from locomt.search.budget import SearchError, Space
from locomt.train.recipe import Recipe
from locomt.train.run_directory import FREE, flatten

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


def write_results(path: Path, document: Mapping[str, Any]) -> None:
    """Write a `results.json`, its paths relative to where it lies: a search may be moved together with its data."""
    text = to_json(_with_paths(document, lambda found: os.path.relpath(found, path.parent)), indent=2)
    write_text(path, text + "\n")


def read_results(path: Path) -> dict[str, Any]:
    """What `write_results` wrote, its paths absolute.

    Raises:
        SearchError: it is something else.
        FileNotFoundError: there is no such file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _with_paths(document, lambda found: os.path.abspath(path.parent / found))
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SearchError(f"{path}: expected what `locomt search` wrote, got something else ({error})") from None


def _with_paths(document: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    def entry(found: Entry) -> Entry:
        return found | {"start": found["start"] and change(found["start"]), "runs": list(map(change, found["runs"]))}

    settings = document["settings"]
    data, train = settings["data"], settings["train"]
    data = data | {"manifest": change(data["manifest"])}
    train = train | {"start": train["start"] and change(train["start"])}
    return {
        **document,
        "chosen": entry(document["chosen"]),
        "front": list(map(entry, document["front"])),
        "tables": list(map(entry, document["tables"])),
        "settings": settings | {"data": data, "train": train},
    }


def read_tables(path: Path, recipe: Recipe) -> list[Entry]:
    """The tables in a `results.json`; none where there is no such file.

    Raises:
        SearchError: it is of another recipe, whose scores do not compare with this one's.
    """
    try:
        document = read_results(path)
    except FileNotFoundError:
        return []
    before, tables = flatten(document["settings"]), document["tables"]
    now = flatten(recipe.to_dict())
    for name in sorted(before.keys() | now.keys()):
        if name not in FREE and before.get(name) != now.get(name):
            raise SearchError(
                f"{path.parent} holds a search with {name} {before.get(name)!r}, the recipe now says "
                f"{now.get(name)!r}: their scores do not compare; change it back or name another directory"
            )
    return list(tables)


def samples_of(data: DataConfig, *splits: str) -> str:
    """What tells the samples of these splits, and their labels, from others."""
    rows = [row for row in read_manifest(data.manifest, data.columns) if row.split in splits]
    return hashlib.sha256(repr([(row.id, row.split, row.label) for row in rows]).encode()).hexdigest()[:16]


def describe(space: Space, recipe: Recipe) -> Entry:
    """What all tables of a search have in common."""
    return {
        "metric": f"val_{recipe.monitor}",
        "better": "more" if recipe.monitor_mode == "max" else "less",
        "tokens": space.tokens,
        "layers": space.layers,
        "heads": space.heads,
        **{f"multiall_{unit}": amount for unit, amount in space.figures(space.dense).items() if unit != "share"},
        "convention": CONVENTION,
        "settings": recipe.to_dict(),
    }
