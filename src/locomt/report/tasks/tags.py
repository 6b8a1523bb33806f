"""Any number of classes a sample: of each what was found, missed and said in vain, and how sure the answers are."""

from __future__ import annotations

from markupsafe import Markup
from torch.nn.functional import binary_cross_entropy_with_logits

from locomt.report.page import Section, button, panel, table
from locomt.report.tasks.material import (
    OF_A_CELL,
    WORST,
    Material,
    beside,
    calibration,
    precision_recall,
    sample_loss,
    worst_mistakes,
)

THRESHOLD = 0.5
LISTED = 100
"""Classes of the table: those with the most mistakes."""
PANEL = "samples-of-a-cell"


def sections(material: Material) -> list[Section]:
    """Of a multilabel task."""
    logits, truth, samples = material.answers.rows
    said, there = logits.sigmoid(), truth >= THRESHOLD
    answered = said >= THRESHOLD
    names = list(material.labels)

    def told(row: int) -> tuple[str, list[str]]:
        lines = [
            f"{word} {', '.join(name for name, on in zip(names, mask[row].tolist(), strict=True) if on) or 'nothing'}"
            for word, mask in (("is", there), ("answered", answered))
        ]
        return material.id_of(int(samples[row])), lines

    losses = sample_loss(
        binary_cross_entropy_with_logits(logits, there.float(), reduction="none"), samples, len(material.answers.ids)
    )
    wrong = (there != answered).any(dim=1)
    order = [row for row in losses.argsort(descending=True).tolist() if wrong[row]]
    worst = worst_mistakes(material, [told(row) for row in order[:WORST]], len(order), "by their loss")

    mistakes = (there != answered).sum(dim=0)
    listed = mistakes.argsort(descending=True, stable=True)[:LISTED].tolist()
    rows = []
    for place in sorted(listed):
        cells: list[object] = [names[place], int(there[:, place].sum())]
        for word, mask, surest, hit in (
            ("found", there & answered, True, True),
            ("missed", there & ~answered, False, False),
            ("said in vain", ~there & answered, True, False),
        ):
            held = mask[:, place].nonzero().flatten()
            held = held[said[held, place].argsort(descending=surest)]
            shown = material.cards.add_all([told(row) for row in held[:OF_A_CELL].tolist()])
            note = "" if len(shown) == len(held) else f"; {len(shown)} are shown"
            title = f"{names[place]}, {word}: {len(held):,} of {len(there):,} samples{note}"
            total = max(1, int(there[:, place].sum()))
            depth = 0.75 * min(1.0, len(held) / total)
            cells.append(button(f"{len(held):,}", title, PANEL, shown, hit=hit, depth=depth))
        rows.append(cells)
    about = f"An answer says a class where its probability is {THRESHOLD} or more."
    if len(listed) < len(names):
        about += f" The {len(listed)} classes of {len(names):,} with the most mistakes."
    hint = panel(PANEL, "Press a number: its samples are shown here.")
    return [
        Section(
            "Found, missed, said in vain",
            Markup("{}{}").format(table(("class", "samples", "found", "missed", "said in vain"), rows), hint),
            about,
        ),
        *worst,
        beside(
            calibration(said.flatten(), there.flatten().float()), precision_recall(said, there.long(), material.labels)
        ),
    ]
