"""A search from its recipe to the chosen table: what a method finds is kept, compared and written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from locomt.data import label_list
from locomt.files import write_text
from locomt.lock import locked
from locomt.search.budget import SearchError, Space
from locomt.search.device import DEVICE, table_times, view_times
from locomt.search.final import decide
from locomt.search.method import Candidate, Work, method, with_table
from locomt.search.question import Search
from locomt.search.results import Entry, best, describe, front, key, merged, read_tables, write_results
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, Outcome, do_all
from locomt.views import ViewTable

RESULTS, CHOSEN, ANEW, PLOT = "results.json", "chosen.yaml", "anew.yaml", "front.svg"


def search(
    wanted: Search,
    out: Path,
    *,
    at_once: int = 1,
    threads: int = 1,
    on_plan: Callable[[int], object] = lambda runs: None,
    on_run: Callable[[Job, Outcome], object] = lambda job, outcome: None,
) -> dict[str, Any]:
    """Make a search, or go on with it where it was stopped.

    Args:
        wanted: what to search.
        out: gets `runs/`, a directory each, of which those found finished are not done again and those begun are gone
            on with; `results.json`, renewed with every table that is scored; and at the end `chosen.yaml`, a recipe,
            `anew.yaml`, the one that trains the same table as the search's recipe says, and `front.svg`. A directory
            may serve several searches of one recipe, whose tables come together there. With a budget of milliseconds,
            the times of views are read from `device.json`, or measured and put there.
        at_once: runs done at a time, each in a process of its own. The results do not depend on it.
        threads: of each run.
        on_plan: told how many runs are about to be had, each time that a method has some done.
        on_run: told every run that was had.

    Returns:
        What `results.json` holds; see docs/search.md.

    Raises:
        ValueError: something in the recipe, its data, the budget or `out` cannot serve, or another process searches
            in `out`.
    """
    with locked(out, "runs"):
        return _search(wanted, out, at_once, threads, on_plan, on_run)


def _search(
    wanted: Search,
    out: Path,
    at_once: int,
    threads: int,
    on_plan: Callable[[int], object],
    on_run: Callable[[Job, Outcome], object],
) -> dict[str, Any]:
    recipe = wanted.recipe
    space = Space(recipe.fusion_config(label_list(recipe.data)), bool(wanted.option("one_way")))
    before = read_tables(out / RESULTS, recipe)
    times = view_times(space, recipe, out / DEVICE) if wanted.budget.unit == "ms" else None
    space = space if times is None else replace(space, times=times.views)
    limit = space.limit(wanted.budget)
    # those of an earlier search at a budget of FLOPs have no times yet
    known = [entry | space.figures(ViewTable.parse(entry["views"], space.modalities)) for entry in before]
    found: dict[tuple[str, str | None], tuple[Candidate, Entry]] = {}  # a table that has more runs now comes once

    def do(jobs: Sequence[Job], on_done: Callable[[Job, Outcome], object]) -> list[Outcome]:
        def tell(job: Job, outcome: Outcome) -> None:
            on_done(job, outcome)
            on_run(job, outcome)

        on_plan(len(jobs))
        return do_all(jobs, at_once=at_once, threads=threads, on_done=tell)

    def document(last: Sequence[Entry] = (), *, complete: bool) -> dict[str, Any]:
        scored = [entry for _, entry in found.values()]
        return _document(wanted, space, limit, known, scored, last or scored, work.before, complete=complete)

    def keep(candidate: Candidate, entry: Entry) -> None:
        found[key(entry)] = candidate, entry
        write_results(out / RESULTS, document(complete=False))

    work = Work(wanted, space, limit, out, do, keep, at_once, before)
    method(wanted.method)(work)
    if not found:
        raise SearchError(f"method {wanted.method} found no table within budget {wanted.budget}")
    last = decide(work, list(found.values()), wanted.final) if wanted.final else []
    whole = document(last, complete=True)
    if times is not None:
        chosen = ViewTable.parse(whole["chosen"]["views"], space.modalities)
        whole["times"] = {**times.machine, "chosen": table_times(chosen, space, recipe, out / DEVICE)}
    write_results(out / RESULTS, whole)
    _write_chosen(whole, [candidate for candidate, _ in found.values()], recipe, out)
    return whole


def _document(
    wanted: Search,
    space: Space,
    limit: int,
    known: Sequence[Entry],
    scored: Sequence[Entry],
    last: Sequence[Entry],
    other_runs: float,
    *,
    complete: bool,
) -> dict[str, Any]:
    common = describe(space, wanted.recipe)
    tables = merged(known, scored, space.unit)
    chosen = key(best(last, common["better"], space.unit))
    return {
        "method": wanted.method,
        "budget": {"text": str(wanted.budget), space.unit: space.amount(limit), "share": limit / space.multiall},
        "complete": complete,
        "training_runs": other_runs + sum(entry["training_runs"] for entry in scored),
        "chosen": next(entry for entry in tables if key(entry) == chosen),
        "front": front(tables, common["better"], space.unit),
        "tables": tables,
        **common,
    }


def _write_chosen(document: Mapping[str, Any], candidates: Sequence[Candidate], recipe: Recipe, out: Path) -> None:
    from locomt.search.plot import plot_front

    chosen = key(document["chosen"])
    found = next(c for c in candidates if (str(c.table), c.recipe.train.start) == chosen)
    write_text(out / CHOSEN, found.recipe.to_yaml(out))
    write_text(out / ANEW, with_table(recipe, found.table).to_yaml(out))
    plot_front(document, out / PLOT)
