"""The studies' front page: what the paper leaves open, a paragraph and a figure each, from what results there are."""

from __future__ import annotations

from pathlib import Path

from locomt.data.atomic import write_text
from locomt.experiments.studies import load_study, read_results
from locomt.experiments.studies.search import LEARNED, frequencies

QUESTIONS = (
    ("Open: which head should look where?", "search"),
    ("Open: more than two modalities", "modalities"),
    ("Open: tasks beyond classification, and events in time", "tasks"),
    ("Next check: across tasks", "layerwise"),
    ("Next check: length sensitivity", "lengths"),
    ("Next check: view frequencies, fixed and changing", "tradeoff"),
    ("The paper's first experiment", "baselines"),
)
"""Headings, and the studies that answer them."""


def write_index(pages: Path) -> Path:
    """Write `index.md` for the studies whose results lie among the pages.

    Returns:
        Its path.

    Raises:
        StudyError: a file there holds something else than results.
    """
    lines = [
        "# Studies",
        "",
        "The paper (Park and Choi, ICASSP 2024) assigns views by hand and leaves questions open. Each study answers "
        "one, with the command that makes it again; text and figures are computed from the results, the `.json` beside "
        "each page.",
        "",
        "Scores are of the test split; every model has the same tuning, by the validation split alone; intervals are "
        "of 95 %, differences are paired by seed. The data sets: [data sets of the studies](data.md).",
    ]
    for heading, name in QUESTIONS:
        if not (pages / f"{name}.json").is_file():
            continue
        document = read_results(pages / f"{name}.json", name)
        study = load_study(name)
        figure = next(iter(study.figures(document)), None)
        lines += ["", f"## {heading}", "", f"*{study.QUESTION}*", "", study.summary(document)]
        lines += ["", f"![{study.TITLE}]({figure}.svg)"] if figure else []
        if name == "search" and (changing := frequencies(document)):
            lines += [
                "",
                f"View frequencies that are learned: {changing}",
                "",
                f"![learned frequencies]({LEARNED}.svg)",
            ]
        lines += ["", f"[{study.TITLE}: the whole study]({name}.md)"]
    write_text(pages / "index.md", "\n".join(lines) + "\n")
    return pages / "index.md"
