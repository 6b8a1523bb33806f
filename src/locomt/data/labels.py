"""Labels: from the manifest's text to the tensors that a loss wants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from locomt.data.config import DataConfig
from locomt.data.manifest import read_manifest
from locomt.hints import did_you_mean

if TYPE_CHECKING:
    from jaxtyping import Shaped


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
    several = config.task == "multilabel" or bool(config.steps)
    found = {name for row in rows for name in (split_labels(row.label) if several else [row.label])} - {""}
    if not found:
        raise LabelError(
            f"{config.manifest}: no row of split {config.train_split!r} (data.train_split) has a label; list them in "
            "data.labels or name another split"
        )
    numbers = all(name.isdecimal() for name in found)
    return sorted(found, key=lambda name: (int(name), name) if numbers else (0, name))


def split_labels(cell: str) -> list[str]:
    """`"a; b"` -> `["a", "b"]`."""
    return [name.strip() for name in cell.split(";")]


def parse_label(cell: str, config: DataConfig, places: Mapping[str, int]) -> Shaped[Tensor, "*shape"]:
    """A label cell as a tensor, of the shape that `Sample.label` has.

    Args:
        cell: a name, a number, or several joined by `;`. A lone `;` says that none of a multilabel task's labels is
            there; an empty cell says nothing and is an error.
        config: task and steps.
        places: label -> index of the model's output.

    Raises:
        LabelError: a label is not on the list, a number is none, or the cell is empty.
    """
    if not cell:
        raise LabelError("expected a label, got an empty cell")
    if config.task == "multilabel":
        names = [] if cell == ";" else split_labels(cell)
        target = torch.zeros(len(places))
        target[[_place(name, places) for name in names]] = 1.0
        return target
    entries = split_labels(cell) if config.steps else [cell]
    if config.task == "regression":
        numbers = torch.tensor([_number(entry) for entry in entries])
        return numbers[:, None] if config.steps else numbers
    target = torch.tensor([_place(entry, places) for entry in entries])
    return target if config.steps else target[0]


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
