"""A number a sample: answers against the truth."""

from __future__ import annotations

from locomt.report import charts
from locomt.report.page import Section, figure, side_by_side
from locomt.report.tasks.material import WORST, Material, worst_mistakes


def sections(material: Material) -> list[Section]:
    """Of a regression."""
    logits, truth, samples = material.answers.rows
    answered, truth = logits[:, 0], truth[:, 0]
    error = (answered - truth).abs()
    order = error.argsort(descending=True).tolist()
    mistakes = [
        (material.id_of(int(samples[row])), [f"is {truth[row]:.4g}", f"answered {answered[row]:.4g}"])
        for row in order[:WORST]
    ]
    shown = figure("Answers against the truth", charts.scatter(truth, answered), "Dashed: where both are the same.")
    return [
        Section("How near it comes", side_by_side([shown])),
        *worst_mistakes(material, mistakes, len(order), "the farthest off first"),
    ]
