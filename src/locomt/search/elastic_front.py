"""The front of an elastic run, `front.json`. Searches write it; it is read to choose a table for a budget."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from locomt.files import to_json, write_text
from locomt.lock import locked
from locomt.search.budget import Budget, SearchError
from locomt.search.front import Entry, best, front
from locomt.search.space import Space
from locomt.search.view_times import DEVICE, view_times
from locomt.train.evaluation import Run
from locomt.train.run_directory import RunError
from locomt.views import ViewTable

FRONT = "front.json"
"""A file in the directory of an elastic run: the Pareto front of the tables that were scored."""


def keep_front(folder: Path, scored: Entry, entries: Sequence[Entry], space: Space) -> None:
    """Write the front of these tables and of those in `front.json`, if their scores can be compared.

    Args:
        folder: the directory of the run.
        scored: what the scores belong to: `metric`, `better`, and hashes of the samples and the weights.
        entries: the tables; `mean` is the score of this run, beside `views`.
        space: of the model. Costs are told anew: earlier versions counted others.
    """
    path = folder / FRONT
    with locked(folder, patience=60):  # another search may use the same run
        before = _read(path) if path.is_file() else {"front": []}
        known = before["front"] if scored.items() <= before.items() else []
        found = {
            entry["views"]: entry | space.figures(ViewTable.parse(entry["views"], space.modalities))
            for entry in [*known, *entries]
        }
        document = {**scored, "front": front(list(found.values()), scored["better"])}
        write_text(path, to_json(document, indent=2) + "\n")


def set_budget(run: Run, budget: str) -> None:
    """Give a run's model its best table within a budget. Raises as `Budget.parse` and `table_within` do."""
    run.model.set_views(table_within(run, Budget.parse(budget)), regroup=True)


def table_within(run: Run, budget: Budget) -> ViewTable:
    """The table of the front with the best score within a budget.

    Args:
        run: an elastic run, whose tables were searched.
        budget: for one full-length sample of the run's model. A budget in milliseconds is for this device: the views
            are timed at the first use, and the times are kept in the run's directory.

    Raises:
        RunError: the run is not elastic, or has no front yet.
        SearchError: no table is as cheap.
    """
    path = run.path / FRONT
    if run.recipe.train.views != "elastic":
        raise RunError(
            f"a budget is for a run whose weights serve any view table (train.views 'elastic'); {run.path} was trained "
            f"with train.views {run.recipe.train.views!r}. `locomt search ... --method elastic` makes one"
        )
    if not path.is_file():
        raise RunError(
            f"{run.path} holds no {FRONT} to choose a table from; "
            f"`locomt search --from {shlex.quote(str(run.path))} --method elastic --budget 1` makes it"
        )
    document, space = _read(path), Space(run.model.config)
    if budget.unit == "ms":
        times = view_times(space, run.recipe, run.path / DEVICE, here=True)
        space = replace(space, times=times.views, last_times=times.last)
    limit = space.limit(budget)
    tables = {entry["views"]: ViewTable.parse(entry["views"], space.modalities) for entry in document["front"]}
    entries = [entry | space.figures(tables[entry["views"]]) for entry in document["front"]]
    cheap = [entry for entry in entries if space.cost(tables[entry["views"]]) <= limit]
    if not cheap:
        least = min(map(space.cost, tables.values()))
        raise SearchError(f"budget {budget}: the cheapest table in {path} takes {space.worded(least)}")
    return tables[best(cheap, document["better"], space.unit)["views"]]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {**document, "better": document["better"], "front": list(document["front"])}
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(f"{path}: expected what `locomt search` wrote, got something else ({error})") from None
