"""One class out of a list: the confusion matrix, whose cells show their samples, and how sure the answers are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from markupsafe import Markup
from torch.nn.functional import one_hot

from locomt.report.page import Section, button, panel, table
from locomt.report.tasks.material import (
    OF_A_CELL,
    Material,
    beside,
    calibration,
    precision_recall,
    worst_mistakes,
)
from locomt.tasks.ordinal import class_probabilities, ranked

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

MATRIX = 24
"""Classes of the largest matrix: beyond it the most frequent confusions are listed."""
LISTED = 40
PANEL = "samples-of-a-cell"

Cell = tuple[int, int]
"""The true class and the answer."""


def sections(material: Material) -> list[Section]:
    """Of a multiclass task."""
    logits = material.answers.rows.logits
    return _sections(material, logits.softmax(dim=-1), logits.argmax(dim=-1))


def ordinal_sections(material: Material) -> list[Section]:
    """Of an ordinal task: the answer is the class whose threshold is the last one passed."""
    logits = material.answers.rows.logits
    return _sections(material, class_probabilities(logits), ranked(logits))


def _sections(material: Material, said: Float[Tensor, "rows classes"], answered: Int[Tensor, " rows"]) -> list[Section]:
    _, truth, samples = material.answers.rows
    sure = said[torch.arange(len(said)), answered]
    cells: dict[Cell, list[tuple[float, str, list[str]]]] = {}
    for row, (true, answer) in enumerate(zip(truth.tolist(), answered.tolist(), strict=True)):
        lines = [f"is {material.labels[true]}", f"answered {material.labels[answer]} ({sure[row]:.0%})"]
        cells.setdefault((true, answer), []).append((sure[row].item(), material.id_of(int(samples[row])), lines))
    for found in cells.values():
        found.sort(key=lambda entry: -entry[0])
    wrong = sorted((entry for (i, j), found in cells.items() if i != j for entry in found), key=lambda e: -e[0])
    mistakes = [(sample, lines) for _, sample, lines in wrong]
    worst = worst_mistakes(
        material, mistakes, len(mistakes), "the surest first"
    )  # before the cells: these have their pictures
    places = {
        cell: material.cards.add_all([(sample, lines) for _, sample, lines in cells[cell][:OF_A_CELL]])
        for cell in sorted(cells, key=lambda cell: (cell[0] == cell[1], cell))
    }
    counts = Counter({cell: len(found) for cell, found in cells.items()})
    small = len(material.labels) <= MATRIX
    shown = _matrix(counts, places, material.labels) if small else _pairs(counts, places, material.labels)
    there = one_hot(truth, len(material.labels))
    return [
        Section(
            "What was taken for what" if small else "Most frequent confusions",
            shown + panel(PANEL, "Press a number: its samples are shown here, the surest answers first."),
        ),
        *worst,
        beside(
            calibration(sure.clamp(0, 1), (truth == answered).float()), precision_recall(said, there, material.labels)
        ),
    ]


def _matrix(counts: Counter[Cell], places: dict[Cell, list[int]], labels: Sequence[str]) -> Markup:
    """A row a true class, a column an answer; colours are shares of the row."""
    heads = Markup().join(Markup('<th scope="col" title="{0}">{0}</th>').format(name) for name in labels)
    lines = [Markup("<thead><tr><th>is \\ answered</th>{}</tr></thead>").format(heads)]
    for true, name in enumerate(labels):
        total = sum(counts[true, answer] for answer in range(len(labels)))
        cells = Markup().join(
            Markup("<td>{}</td>").format(_cell((true, answer), counts, places, labels, total))
            for answer in range(len(labels))
        )
        lines.append(Markup('<tr><th scope="row" title="{0}">{0}</th>{1}</tr>').format(name, cells))
    return Markup('<div class="scroll"><table class="cells">\n{}\n</table></div>').format(Markup("\n").join(lines))


def _pairs(counts: Counter[Cell], places: dict[Cell, list[int]], labels: Sequence[str]) -> Markup:
    totals = Counter({true: 0 for true, _ in counts})
    for (true, _), count in counts.items():
        totals[true] += count
    wrong = [cell for cell, _ in counts.most_common() if cell[0] != cell[1]][:LISTED]
    rows = [(labels[i], labels[j], _cell((i, j), counts, places, labels, totals[i]), totals[i]) for i, j in wrong]
    return table(("is", "answered", "samples", "of"), rows)


def _cell(
    cell: Cell,
    counts: Counter[Cell],
    places: dict[Cell, list[int]],
    labels: Sequence[str],
    total: int,
) -> Markup:
    count, found = counts[cell], places.get(cell, [])
    true, answer = (labels[place] for place in cell)
    what = f"{true}, answered {answer}: {count:,} of {total:,}"
    shown = "" if len(found) == count else f"; {len(found)} are shown"
    return button(
        f"{count:,}", what + shown, PANEL, found, hit=cell[0] == cell[1], depth=0.75 * count / total if total else 0.0
    )
