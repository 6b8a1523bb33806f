"""LoCoMT against Selfall, Multiall, MBT and single modalities: the paper's first experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from locomt.studies.arms import baselines, study
from locomt.studies.page import (
    Document,
    comparison_table,
    ending,
    head,
    verdicts,
)
from locomt.studies.plan import Plan
from locomt.studies.plots import against_cost

NAME = "baselines"
TITLE = "LoCoMT against its baselines"
QUESTION = (
    "Does LoCoMT keep the accuracy of full fusion at less attention cost than no fusion at all (the paper's first "
    "experiment)?"
)
DATA_SETS = ("digits", "modalities2")
PAIRS = (("locomt", "selfall"), ("locomt", "multiall"), ("locomt", "mbt"))


def run(plan: Plan) -> dict[str, Any]:
    return study(plan, NAME, DATA_SETS, baselines)


def summary(document: Document) -> str:
    return verdicts(document, PAIRS)


def page(document: Document) -> str:
    return report(document, TITLE, QUESTION)


def report(document: Document, title: str, question: str, more: Sequence[str] = ()) -> str:
    """Write the page of a study whose arms are LoCoMT and its baselines. `more` lines stand before the tasks."""
    lines = head(document, title, question)
    lines += ["", "## Answer", "", verdicts(document, PAIRS), ""]
    lines += [f"![test score against attention FLOPs]({document['study']}.svg)", ""]
    lines += [*comparison_table(document, PAIRS), *more]
    lines += ending(document)
    return "\n".join(lines) + "\n"


def figures(document: Document) -> dict[str, str]:
    found: dict[str, str] = {}
    against_cost(document, found, document["study"])
    return found
