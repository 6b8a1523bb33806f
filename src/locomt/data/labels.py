"""Labels: from the manifest's text to the tensors that a loss wants."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from locomt.data.cells import NONE_OF_THEM
from locomt.data.config import DataConfig
from locomt.data.errors import ManifestError
from locomt.data.manifest import read_manifest
from locomt.data.names import clean
from locomt.data.row import Row
from locomt.data.splits import others_there
from locomt.hints import did_you_mean, listed, printable

if TYPE_CHECKING:
    from jaxtyping import Shaped


_NUMBER = r"[0-9.]+(?:e[-+]?[0-9]+)?"
_TIMES = rf"@\s*(?P<start>{_NUMBER})\s*-\s*(?P<end>{_NUMBER})"
_EVENT = re.compile(rf"(?P<label>.+){_TIMES}", re.IGNORECASE)
_ANOTHER = re.compile(rf"{_TIMES}(?![\w.])", re.IGNORECASE)
"""Within the name of an event: the times of another one, joined to it by something else than `;`."""
_NOTHING = (NONE_OF_THEM, "[]")
"""Cells that say that there is none: the second is what programs print of an empty list, and can mean nothing else."""
LARGEST = torch.finfo(torch.float32).max
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
    rows = read_manifest(config.manifest, config.columns)
    training = [row for row in rows if row.split == config.train_split]
    _check_form(config, training)
    found = {name for cell in {row.label for row in training} for name in names_in(cell, config)}
    if not found:
        there = "" if training else others_there(config.train_split, (row.split for row in rows)) + "; "
        raise LabelError(
            f"{config.manifest}: no row of split {config.train_split!r} (data.train_split) has a label; {there}list "
            "them in data.labels or name another split"
        )
    numbers = all(name.isdecimal() for name in found)
    return sorted(found, key=lambda name: (int(name), name) if numbers else (0, name))


def _check_form(config: DataConfig, rows: Sequence[Row]) -> None:
    """Refuse a manifest most of whose cells are lists as a program prints them: no row of it says what it means."""
    labelled = [row for row in rows if row.label]
    lists = [row for row in labelled if is_written_list(row.label)]
    brackets = {row.label[0] for row in lists}
    alike = all(row.label[0] in brackets for row in labelled)  # beside [a, b] alone, [a] is a list of one
    if lists and (alike or 2 * len(lists) > len(labelled)):
        raise ManifestError(config.manifest, f"line {lists[0].number}: {_not_a_list(lists[0].label)}")


def is_written_list(cell: str) -> bool:
    """Whether a cell is what programs print of a list with something in it: `['a', 'b']`, `["a"]`, `[0, 1]`, `{a,b}`.

    `[music]` is none: so sounds are called in transcripts.
    """
    if cell.startswith("array("):
        return True
    if cell[:1] + cell[-1:] not in ("[]", "{}", "()") or len(cell) < 3:
        return False
    inner = cell[1:-1].strip(", \n\t")
    if inner[:1] in ("'", '"', "[", "{", "("):
        return True
    if cell[0] != "(" and (not inner or "," in inner):
        return True
    items = inner.replace(",", " ").split()
    return (cell[0] == "[" or len(items) > 1) and all(map(_is_number, items))


def _is_number(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdecimal()


def _not_a_list(cell: str) -> str:
    return (
        f"expected labels joined by ';', as in a;b, or a real list in JSON lines or Parquet, got the text {cell!r:.80}"
    )


def names_in(cell: str, config: DataConfig) -> list[str]:
    """The names of classes in a label cell; none where it cannot be: its row will be a bad sample."""
    if cell in ("", *_NOTHING) or is_written_list(cell):
        return []
    if config.task == "temporal":
        try:
            return [event.label for event in parse_events(cell)]
        except LabelError:
            return []
    several = config.task == "multilabel" or config.steps
    return [name for name in split_labels(cell) if name] if several else [cell]


def split_labels(cell: str) -> list[str]:
    """`"a; b"` -> `["a", "b"]`."""
    return [clean(name) for name in cell.split(";")]


def parse_label(cell: str, config: DataConfig, places: Mapping[str, int]) -> Shaped[Tensor, "*shape"]:
    """A label cell as a tensor, of the shape that `Sample.label` has.

    Args:
        cell: a name, a number, or several joined by `;`. A lone `;`, or `[]`, says that none of a multilabel task's
            labels is there, or that nothing happens in a temporal one; an empty cell says nothing and is an error.
        config: task, steps and times.
        places: label -> index of the model's output, as `locomt.data.names.places_of` gives it.

    Raises:
        LabelError: a label is not on the list, a number or an event is none, or the cell is empty.
    """
    if not cell or (cell in _NOTHING and config.task in ("multiclass", "regression")):
        raise LabelError("expected a label, got an empty cell")
    if is_written_list(cell) and cell not in places and (config.task != "regression" or config.steps):
        raise LabelError(_not_a_list(cell))
    if config.task == "multilabel":
        names = [] if cell in _NOTHING else split_labels(cell)
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
    return [] if cell in _NOTHING else [_event(entry) for entry in split_labels(cell)]


def _event(text: str) -> Event:
    found = _EVENT.fullmatch(text)
    try:
        start, end = (float(found[name]) for name in ("start", "end")) if found else (math.nan, math.nan)
    except ValueError:  # two points in a number
        found = None
    if not found:
        raise LabelError(f"expected events such as dog@0.5-1.25, from and to seconds, joined by ';', got {text!r}")
    if _ANOTHER.search(found["label"]):
        raise LabelError(f"expected events joined by ';', as in dog@0.5-1.25;speech@0-2, got {text!r:.80}")
    if not math.isfinite(start + end):
        raise LabelError(f"event {text!r}: expected finite seconds")
    if not start < end:
        raise LabelError(f"event {text!r}: expected it to end after it starts, at {start:g} s")
    return Event(clean(found["label"]), start, end)


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
    hint = did_you_mean(name, places, f"the labels are {listed(places, show=printable)}")
    raise LabelError(f"label {name!r} is not on the list; {hint}")


def _number(text: str) -> float:
    """A number as float32 can hold it: a larger one would be infinite in the loss, and so would the loss."""
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError(f"expected a finite number as label, got {text!r:.80}")
    if abs(value) > LARGEST:
        raise LabelError(
            f"expected a finite number as label, got {text!r:.80}, which float32 cannot hold: it ends at {LARGEST:.2g}"
        )
    return value
