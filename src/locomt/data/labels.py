"""Labels: from the manifest's text to the tensors that a loss wants."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from locomt.data.config import DataConfig
from locomt.data.manifest import read_manifest
from locomt.hints import did_you_mean

if TYPE_CHECKING:
    from jaxtyping import Shaped


_NUMBER = r"[0-9.]+(?:e[-+]?[0-9]+)?"
_EVENT = re.compile(rf"(?P<label>.+)@\s*(?P<start>{_NUMBER})\s*-\s*(?P<end>{_NUMBER})", re.IGNORECASE)
TICK = 1e-6
"""Seconds, or share of a step, by which times that are meant to be equal may differ."""


class LabelError(ValueError):
    """A label cell that cannot be: says what was expected and what came."""


def label_list(config: DataConfig) -> list[str]:
    """The names of the model's outputs in their order; empty for regression.

    They are those of `config.labels` or else the labels of the training split, sorted (as numbers where all of them
    are whole numbers), for which the manifest is read.

    Raises:
        ValueError: the manifest cannot be read or its training split has no labels.
    """
    if config.task == "regression":
        return []
    if config.labels is not None:
        return list(config.labels)
    rows = [row for row in read_manifest(config.manifest, config.columns) if row.split == config.train_split]
    found = {name for row in rows for name in _names(row.label, config)} - {""}
    if not found:
        raise LabelError(
            f"{config.manifest}: no row of split {config.train_split!r} (data.train_split) has a label; list them in "
            "data.labels or name another split"
        )
    numbers = all(name.isdecimal() for name in found)
    return sorted(found, key=lambda name: (int(name), name) if numbers else (0, name))


def _names(cell: str, config: DataConfig) -> list[str]:
    """The labels in a cell; of a temporal task none where the cell cannot be: its row will be a bad sample."""
    if config.task == "temporal":
        try:
            return [event.label for event in parse_events(cell)]
        except LabelError:
            return []
    return split_labels(cell) if config.task == "multilabel" or config.steps else [cell]


def split_labels(cell: str) -> list[str]:
    """`"a; b"` -> `["a", "b"]`."""
    return [name.strip() for name in cell.split(";")]


def parse_label(cell: str, config: DataConfig, places: Mapping[str, int]) -> Shaped[Tensor, "*shape"]:
    """A label cell as a tensor, of the shape that `Sample.label` has.

    Args:
        cell: a name, a number, or several joined by `;`. A lone `;` says that none of a multilabel task's labels is
            there, or that nothing happens in a temporal one; an empty cell says nothing and is an error.
        config: task, steps and times.
        places: label -> index of the model's output.

    Raises:
        LabelError: a label is not on the list, a number or an event is none, or the cell is empty.
    """
    if not cell:
        raise LabelError("expected a label, got an empty cell")
    if config.task == "multilabel":
        names = [] if cell == ";" else split_labels(cell)
        target = torch.zeros(len(places))
        target[[_place(name, places) for name in names]] = 1.0
        return target
    if config.task == "temporal":
        return _on_steps(parse_events(cell), config, places)
    entries = split_labels(cell) if config.steps else [cell]
    if config.task == "regression":
        numbers = torch.tensor([_number(entry) for entry in entries])
        return numbers[:, None] if config.steps else numbers
    target = torch.tensor([_place(entry, places) for entry in entries])
    return target if config.steps else target[0]


class Event(NamedTuple):
    """Something that happens from one second of a clip to another."""

    label: str
    start: float
    end: float


def parse_events(cell: str) -> list[Event]:
    """`"dog@0.5-1.25; speech@0-2"` -> both events, in the order of the cell; none of a lone `;`.

    Raises:
        LabelError: something in the cell is no event, or one ends before it starts.
    """
    return [] if cell == ";" else [_event(entry) for entry in split_labels(cell)]


def _event(text: str) -> Event:
    found = _EVENT.fullmatch(text)
    try:
        start, end = (float(found[name]) for name in ("start", "end")) if found else (math.nan, math.nan)
    except ValueError:  # two points in a number
        found = None
    if not found:
        raise LabelError(f"expected events such as dog@0.5-1.25, from and to seconds, joined by ';', got {text!r}")
    if not start < end:
        raise LabelError(f"event {text!r}: expected it to end after it starts, at {start:g} s")
    return Event(found["label"].strip(), start, end)


def _on_steps(
    events: Sequence[Event], config: DataConfig, places: Mapping[str, int]
) -> Shaped[Tensor, "steps classes"]:
    """1 where an event of the class takes up at least half of the step.

    An event that takes up half of no step, being shorter than one, is on in the step that has most of it (the first of
    equals): no event is lost.
    """
    assert config.seconds is not None
    assert config.step is not None
    target = torch.zeros(config.time_steps, len(places))
    for event in events:
        if event.end > config.seconds + TICK:
            raise LabelError(
                f"event {event.label!r} ends at {event.end:g} s, and the clip at data.seconds = {config.seconds:g}"
            )
        shares = _shares(event, config.step, config.time_steps)
        on = [step for step, share in shares if share >= 0.5 - TICK] or [max(shares, key=lambda entry: entry[1])[0]]
        target[on, _place(event.label, places)] = 1.0
    return target


def _shares(event: Event, step: float, steps: int) -> list[tuple[int, float]]:
    """The steps that an event overlaps, and what share of each it takes up."""
    first, last = min(int(event.start / step), steps - 1), min(math.ceil(event.end / step), steps)
    return [(t, min(event.end / step, t + 1) - max(event.start / step, t)) for t in range(first, max(last, first + 1))]


def _place(name: str, places: Mapping[str, int]) -> int:
    if name in places:
        return places[name]
    hint = did_you_mean(name, places, f"the labels are {_shortened(list(places))}")
    raise LabelError(f"label {name!r} is not on the list; {hint}")


def _shortened(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError(f"expected a finite number as label, got {text!r}")
    return value
