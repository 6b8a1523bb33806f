"""A search, from the question to the chosen table."""

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
from locomt.search.found_little import doubts
from locomt.search.front import key
from locomt.search.ledger import RESULTS, Ledger, read_tables, write_results
from locomt.search.question import Question
from locomt.search.space import Space
from locomt.search.view_times import DEVICE, table_times, view_times
from locomt.search.work import Work
from locomt.train.runs import Runner
from locomt.views import ViewTable

CHOSEN, ANEW, REPORT = "chosen.yaml", "anew.yaml", "report.html"


def search(question: Question, out: Path, runner: Runner | None = None) -> dict[str, Any]:
    """Run a search, or resume it.

    Several searches of one recipe may share a directory; their tables are collected in its `results.json`.

    Args:
        question: what to search, and how.
        out: the directory to write. It gets `runs/`, with a directory for each run: finished runs are not repeated, and
            stopped ones are resumed. `results.json` is rewritten with every table that is scored. At the end come
            `report.html`, `chosen.yaml`, the recipe that trained the chosen table, and `anew.yaml`, which trains that
            table as the search's recipe says. With a budget in milliseconds, the times of views are read from
            `device.json`; if it is missing, they are measured and written to it.
        runner: trains the models; by default one after the other and without output.

    Returns:
        What `results.json` holds; see docs/search.md.

    Raises:
        ValueError: the recipe, its data, the budget or `out` cannot be used, or another process searches in `out`.
    """
    with locked(out, "runs"):
        return _search(question, out, runner or Runner())


def _search(question: Question, out: Path, runner: Runner) -> dict[str, Any]:
    recipe = question.recipe
    space = Space(recipe.fusion_config(label_list(recipe.data)), bool(question.option("one_way")))
    known = read_tables(out / RESULTS, recipe)
    times = view_times(space, recipe, out / DEVICE) if question.budget.unit == "ms" else None
    space = space if times is None else replace(space, times=times.views, last_times=times.last)
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
    document["cautions"] = doubts(document, recipe)
    write_results(out / RESULTS, document)
    _write_chosen(document, ledger)
    return document


def _write_chosen(document: Mapping[str, Any], ledger: Ledger) -> None:
    from locomt.search.report import write_report

    candidate, _ = ledger.found[key(document["chosen"])]
    write_text(ledger.out / CHOSEN, candidate.recipe.to_yaml(ledger.out))
    write_text(ledger.out / ANEW, with_table(ledger.question.recipe, candidate.table).to_yaml(ledger.out))
    config = ledger.space.config
    assert config.depth is not None
    layer = config.depth - ledger.space.layers + 1
    write_report(document, ledger.question.recipe, ledger.out / REPORT, layer=layer)
