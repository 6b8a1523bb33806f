"""Events in time: what happens and what was answered on a time line, and how sure the steps are."""

from __future__ import annotations

from torch.nn.functional import binary_cross_entropy_with_logits

from locomt.report import charts
from locomt.report.page import Section, figure, side_by_side
from locomt.report.tasks.material import (
    WORST,
    Material,
    beside,
    calibration,
    precision_recall,
    sample_loss,
    worst_mistakes,
)
from locomt.tasks.events import find_events

LINES = 6
"""Samples whose events are drawn: the worst half of them, and the best."""
CLASSES = 8
"""Classes drawn of a sample."""

Span = tuple[str, float, float]


def sections(material: Material) -> list[Section]:
    """Of a temporal task."""
    answers = material.answers
    logits, truth, samples = answers.rows
    count = len(answers.ids)
    losses = sample_loss(binary_cross_entropy_with_logits(logits, truth, reduction="none"), samples, count)
    order = losses.argsort(descending=True).tolist()

    missed = ((logits >= 0) != (truth > 0)).any(dim=1)  # steps with a mistake
    erring = set(samples[missed].tolist())
    wrong = [sample for sample in order if sample in erring]
    spans = {
        sample: (_true(material, sample), _answered(material, sample))
        for sample in (*wrong[:WORST], *order[: LINES // 2], *order[-(LINES // 2) :])
    }
    worst = worst_mistakes(
        material,
        [
            (material.id_of(sample), [f"is {_told(spans[sample][0])}", f"answered {_told(spans[sample][1])}"])
            for sample in wrong[:WORST]
        ],
        len(wrong),
        "by their loss",
    )
    drawn = dict.fromkeys([*order[: LINES // 2], *order[-(LINES // 2) :]])
    lines = [
        figure(
            f"{material.id_of(sample)}",
            charts.time_line(f"events-{place}", *map(_few, spans[sample]), seconds=material.seconds),
            "among the worst" if place < LINES // 2 else "among the best",
        )
        for place, sample in enumerate(drawn)
    ]
    said = logits.sigmoid()
    return [
        Section("Events on a time line", side_by_side(lines), "Above what is true, below what was answered."),
        *worst,
        beside(calibration(said.flatten(), truth.flatten()), precision_recall(said, truth.long(), material.labels)),
    ]


def _true(material: Material, sample: int) -> list[Span]:
    step, labels = material.answers.task.step, material.answers.labels[sample]
    assert step is not None
    return [
        (name, event.start, event.end)
        for place, name in enumerate(material.labels)
        for event in find_events(labels[:, place], step)
    ]


def _answered(material: Material, sample: int) -> list[Span]:
    events = material.answers.task.answer(material.answers.logits[sample], material.labels, 0)["events"]
    return [(event["label"], event["start"], event["end"]) for event in events]


def _few(spans: list[Span]) -> list[Span]:
    kept = list(dict.fromkeys(label for label, *_ in spans))[:CLASSES]
    return [span for span in spans if span[0] in kept]


def _told(spans: list[Span]) -> str:
    return "; ".join(f"{label} {start:.2g} to {end:.2g} s" for label, start, end in spans[:CLASSES]) or "nothing"
