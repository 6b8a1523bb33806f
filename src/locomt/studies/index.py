"""The studies' front page. Each question has a paragraph and a figure, made from the results that there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from locomt.files import write_text
from locomt.studies import beyond_classification, found_tables, load_study, read_results
from locomt.studies.wrapping import wrapped


class Part(NamedTuple):
    """A part of a study that has a section of its own.

    Attributes:
        question: the question that the part answers.
        answer: results -> the answer in one paragraph; empty if the results hold none.
        figure: the name of its figure.
    """

    question: str
    answer: Callable[[dict[str, Any]], str]
    figure: str


EVENTS = Part(beyond_classification.EVENTS_QUESTION, beyond_classification.events, beyond_classification.EVENTS)
CHANGING = Part(found_tables.CHANGING_QUESTION, found_tables.changing, found_tables.LEARNED)

SECTIONS: tuple[tuple[str, str, Part | None], ...] = (
    ("Open: which head should look where?", found_tables.NAME, None),
    ("Open: more than two modalities", "modalities", None),
    ("Open: events in time", beyond_classification.NAME, EVENTS),
    ("Next check: across tasks, beyond classification", beyond_classification.NAME, None),
    ("Next check: length sensitivity", "lengths", None),
    ("Next check: view frequencies that change", found_tables.NAME, CHANGING),
    ("The paper's first experiment: against baselines", "baselines", None),
    ("The paper's second experiment: view frequencies and fusion layers", "tradeoff", None),
    ("The paper's third experiment: layer by layer", "layerwise", None),
)
"""(heading, study, part): the paper's open questions, next checks and experiments. The whole study answers if there is
no part."""


def write_index(pages: Path) -> Path:
    """Write `index.md` about the studies whose results are in the folder `pages`.

    Returns:
        The path of `index.md`.

    Raises:
        StudyError: a file with the name of a study's results holds something else.
    """
    lines = [
        "# Studies",
        "",
        "The paper (Park and Choi, ICASSP 2024) assigns views by hand and leaves questions open. Each study answers "
        "one or two, with the command that makes it again; text and figures are computed from the results, the `.json` "
        "beside each page.",
        "",
        "Scores are of the test split. Within a study every model has the same tuning, by the validation split alone, "
        "or none has any, with the recipe's settings for all: each page says which. Intervals are of 95 %, differences "
        "are paired by seed. The data sets: [data sets of the studies](data.md). What was aimed at before, and what of "
        "it was reached: [aims](aims.md).",
    ]
    for heading, name, part in SECTIONS:
        if not (pages / f"{name}.json").is_file():
            continue
        document = read_results(pages / f"{name}.json", name)
        study = load_study(name)
        own = part or Part(study.QUESTION, study.summary, name)
        answer = own.answer(document)
        if part and not answer:
            continue
        lines += ["", f"## {heading}", "", f"*{own.question}*", "", answer]
        lines += ["", f"![{heading}]({own.figure}.svg)"]
        lines += ["", f"[{study.TITLE}: the whole study]({name}.md)"]
    write_text(pages / "index.md", wrapped("\n".join(lines) + "\n"))
    return pages / "index.md"
