"""Beyond clip classification: sentiment, questions, grounding and events in time, each with its baselines."""

from __future__ import annotations

from typing import Any

from locomt.experiments.studies.arms import baselines, study
from locomt.experiments.studies.baselines import figures, report, summary
from locomt.experiments.studies.page import Document
from locomt.experiments.studies.plan import Plan

__all__ = ["NAME", "QUESTION", "TITLE", "figures", "page", "run", "summary"]

NAME = "tasks"
TITLE = "Tasks beyond classification"
QUESTION = (
    "Does what holds for classifying clips hold for sentiment of utterances, questions about pictures, finding what a "
    "phrase means, and events in time (the paper's next check across tasks)?"
)
TASKS = ("mosi", "qa", "grounding", "moments", "temporal", "tones")


def run(plan: Plan) -> dict[str, Any]:
    return study(plan, NAME, TASKS, baselines)


def page(document: Document) -> str:
    return report(document, TITLE, QUESTION)
