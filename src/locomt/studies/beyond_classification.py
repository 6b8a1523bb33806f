"""Beyond clip classification: sentiment, questions, grounding and events in time, each with its baselines."""

from __future__ import annotations

from typing import Any

from locomt.nn.config import FUSIONS
from locomt.studies.arms import baselines, study
from locomt.studies.baselines import PAIRS, report, summary
from locomt.studies.baselines import figures as figures_by_score
from locomt.studies.numbers import mean_of
from locomt.studies.page import Document, arms_of, comparison_table, scale_of, scores, spread, verdicts
from locomt.studies.plan import Plan
from locomt.studies.plots import against_cost

__all__ = ["NAME", "QUESTION", "TITLE", "events", "figures", "page", "run", "summary"]

NAME = "tasks"
TITLE = "Tasks beyond classification"
QUESTION = (
    "Does what holds for classifying clips hold for sentiment of utterances, questions about pictures, finding what a "
    "phrase means, and events in time (the paper's next check across tasks)?"
)
EVENTS_QUESTION = (
    "Do views keep what it takes to tell when events begin and end (left open by the paper, which labels whole clips)?"
)
DATA_SETS = ("mosi", "qa", "grounding", "moments", "temporal", "tones")
EVENTS = "tasks-events"
EVENT_METRIC = "event_f1"


def run(plan: Plan) -> dict[str, Any]:
    return study(plan, NAME, DATA_SETS, baselines)


def by_events(document: Document) -> Document:
    """Return the same results scored by F1 of events. Tasks without events are left out."""
    arms = [
        {**arm, "runs": [{**run, "score": run["metrics"].get(EVENT_METRIC)} for run in arm["runs"]]}
        for arm in document["arms"]
    ]
    judged = {**document, "arms": arms}
    tasks = [task for task in document["tasks"] if arms_of(judged, task["name"])]
    return {**judged, "tasks": [{**task, "metric": EVENT_METRIC, "better": "more"} for task in tasks]}


def events(document: Document) -> str:
    """Describe scores by step and by whole event for tasks with events in time. Empty if there is no such task."""
    found = []
    for task in document["tasks"]:
        told = [
            f"{arm['name']} {spread(mean_of(list(scores(arm).values())), scale_of(task['metric']))} and "
            f"{spread(mean_of(list(whole.values())))}"
            for arm in arms_of(document, task["name"])
            if arm["name"] in FUSIONS and (whole := scores(arm, EVENT_METRIC))
        ]
        found += [f"**{task['name']}**, {task['metric']} and F1 of whole events: {', '.join(told)}."] if told else []
    return f"{' '.join(found)} By F1 of events: {verdicts(by_events(document), PAIRS)}" if found else ""


def page(document: Document) -> str:
    more = []
    if told := events(document):
        more = ["", "## Events in time", "", f"*{EVENTS_QUESTION}*", "", told, ""]
        more += [f"![test F1 of events against attention FLOPs]({EVENTS}.svg)", ""]
        more += comparison_table(by_events(document), PAIRS)
    return report(document, TITLE, QUESTION, more)


def figures(document: Document) -> dict[str, str]:
    found = figures_by_score(document)
    against_cost(by_events(document), found, EVENTS)
    return found
