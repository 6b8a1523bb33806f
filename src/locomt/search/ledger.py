"""The tables that a search tried and their scores, kept in `results.json`."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from locomt.cost import CONVENTION
from locomt.data import DataConfig
from locomt.data.dealing import read_rows
from locomt.files import to_json, write_text
from locomt.search.budget import SearchError
from locomt.search.candidate import Candidate
from locomt.search.front import Entry, best, front, key, merged
from locomt.search.question import Question
from locomt.search.space import Space
from locomt.train.recipe import Recipe
from locomt.train.run_directory import FREE, flatten
from locomt.views import ViewTable

RESULTS = "results.json"


class Ledger:
    """Tables and their scores. `results.json` is rewritten with every table that is recorded.

    Attributes:
        question: what to search, and how.
        space: the tables to choose from.
        limit: the most that a table may cost, in the unit of `space.cost`.
        out: the directory of the search.
        known: entries of tables that earlier searches of the recipe scored in this directory.
        found: the tables of this search with their entries. A table that is recorded again replaces its entry.
        other_runs: training besides that of tables, counted in runs of the recipe.
    """

    def __init__(self, question: Question, space: Space, out: Path, known: Sequence[Entry] = ()) -> None:
        self.question, self.space, self.out = question, space, out
        self.limit = space.limit(question.budget)
        # entries of an earlier search with a budget of FLOPs have no times yet
        self.known = [entry | space.figures(ViewTable.parse(entry["views"], space.modalities)) for entry in known]
        self.found: dict[tuple[str, str | None], tuple[Candidate, Entry]] = {}
        self.other_runs = 0.0

    def record(
        self,
        candidate: Candidate,
        scores: Sequence[float],
        *,
        training_runs: float,
        runs: Sequence[Path],
        seeds: Sequence[int] | None = None,
    ) -> Entry:
        """Record the scores of a table, one for each seed. `seeds` are by default those of the question."""
        assert self.space.cost(candidate.table) <= self.limit, f"{candidate.names[0]} is above the budget"
        entry = {
            "views": str(candidate.table),
            "names": list(candidate.names),
            **self.space.figures(candidate.table),
            "seeds": list(self.question.all_seeds if seeds is None else seeds),
            "scores": list(scores),
            "mean": statistics.fmean(scores),
            "start": candidate.recipe.train.start,
            "training_runs": training_runs,
            "runs": [str(run.absolute()) for run in runs],
            **candidate.facts,
        }
        self.found[key(entry)] = candidate, entry
        write_results(self.out / RESULTS, self.document(complete=False))
        return entry

    def document(self, last: Sequence[Entry] = (), *, complete: bool) -> dict[str, Any]:
        """What `results.json` holds. The best table is chosen among `last`, by default among all of this search."""
        space = self.space
        scored = [entry for _, entry in self.found.values()]
        common = describe(space, self.question.recipe)
        tables = merged(self.known, scored, space.unit)
        chosen = key(best(last or scored, common["better"], space.unit))
        budget = {space.unit: space.amount(self.limit), "share": self.limit / space.multiall}
        return {
            "method": self.question.method,
            "budget": {"text": str(self.question.budget), **budget},
            "complete": complete,
            "training_runs": self.other_runs + sum(entry["training_runs"] for entry in scored),
            "chosen": next(entry for entry in tables if key(entry) == chosen),
            "front": front(tables, common["better"], space.unit),
            "tables": tables,
            **common,
        }


def write_results(path: Path, document: Mapping[str, Any]) -> None:
    """Write a `results.json` with paths relative to it, so that a search can be moved together with its data."""
    text = to_json(_with_paths(document, lambda found: os.path.relpath(found, path.parent)), indent=2)
    write_text(path, text + "\n")


def read_results(path: Path) -> dict[str, Any]:
    """Read what `write_results` wrote, and make its paths absolute.

    Raises:
        SearchError: the file holds something else.
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
    """Read the tables in a `results.json`; none if there is no such file.

    Raises:
        SearchError: it belongs to another recipe, so that scores cannot be compared.
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
    """A hash of the samples of these splits and of their labels."""
    rows = [row for row in read_rows(data) if row.split in splits]
    return hashlib.sha256(repr([(row.id, row.split, row.label) for row in rows]).encode()).hexdigest()[:16]


def describe(space: Space, recipe: Recipe) -> Entry:
    """The part of `results.json` that holds for all tables of a search."""
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
