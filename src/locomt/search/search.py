"""A search from its question to the chosen table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from locomt.data import label_list
from locomt.files import write_text
from locomt.lock import locked
from locomt.search.budget import SearchError
from locomt.search.candidate import with_table
from locomt.search.final import decide
from locomt.search.front import key
from locomt.search.ledger import RESULTS, Ledger, read_tables, write_results
from locomt.search.question import Question
from locomt.search.space import Space
from locomt.search.view_times import DEVICE, table_times, view_times
from locomt.search.work import Work
from locomt.train.runs import Runner
from locomt.views import ViewTable

CHOSEN, ANEW, PLOT = "chosen.yaml", "anew.yaml", "front.svg"


def search(question: Question, out: Path, runner: Runner | None = None) -> dict[str, Any]:
    """Make a search, or go on with it where it was stopped.

    Args:
        question: what to search.
        out: gets `runs/`, a directory each, of which those found finished are not done again and those begun are gone
            on with; `results.json`, renewed with every table that is scored; and at the end `chosen.yaml`, a recipe,
            `anew.yaml`, the one that trains the same table as the search's recipe says, and `front.svg`. A directory
            may serve several searches of one recipe, whose tables come together there. With a budget of milliseconds,
            the times of views are read from `device.json`, or measured and put there.
        runner: does the runs; one after the other, and without telling, where left out.

    Returns:
        What `results.json` holds; see docs/search.md.

    Raises:
        ValueError: something in the recipe, its data, the budget or `out` cannot serve, or another process searches
            in `out`.
    """
    with locked(out, "runs"):
        return _search(question, out, runner or Runner())


def _search(question: Question, out: Path, runner: Runner) -> dict[str, Any]:
    recipe = question.recipe
    space = Space(recipe.fusion_config(label_list(recipe.data)), bool(question.option("one_way")))
    known = read_tables(out / RESULTS, recipe)
    times = view_times(space, recipe, out / DEVICE) if question.budget.unit == "ms" else None
    space = space if times is None else replace(space, times=times.views)
    ledger = Ledger(question, space, out, known)
    work = Work(ledger, runner)
    import_module(f"locomt.search.methods.{question.method}").run(work)
    if not ledger.found:
        raise SearchError(f"method {question.method} found no table within budget {question.budget}")
    last = decide(work, list(ledger.found.values()), question.final) if question.final else []
    document = ledger.document(last, complete=True)
    if times is not None:
        chosen = ViewTable.parse(document["chosen"]["views"], space.modalities)
        document["times"] = {**times.machine, "chosen": table_times(chosen, space, recipe, out / DEVICE)}
    write_results(out / RESULTS, document)
    _write_chosen(document, ledger)
    return document


def _write_chosen(document: Mapping[str, Any], ledger: Ledger) -> None:
    from locomt.search.plot import plot_front

    candidate, _ = ledger.found[key(document["chosen"])]
    write_text(ledger.out / CHOSEN, candidate.recipe.to_yaml(ledger.out))
    write_text(ledger.out / ANEW, with_table(ledger.question.recipe, candidate.table).to_yaml(ledger.out))
    plot_front(document, ledger.out / PLOT)
