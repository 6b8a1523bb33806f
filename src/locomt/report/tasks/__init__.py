"""What a page shows of the answers to each task: a function of the task's name, made of the same parts."""

from __future__ import annotations

from collections.abc import Callable

from locomt.report.page import Section
from locomt.report.tasks import classes, events, numbers, tags
from locomt.report.tasks.material import Material

SECTIONS: dict[str, Callable[[Material], list[Section]]] = {
    "multiclass": classes.sections,
    "ordinal": classes.ordinal_sections,
    "multilabel": tags.sections,
    "regression": numbers.sections,
    "temporal": events.sections,
}
