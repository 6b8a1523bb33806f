"""The labels of a manifest: the list of them. What a cell says is the task's matter, see `locomt.tasks`."""

from __future__ import annotations

from collections.abc import Sequence

from locomt.data.config import DataConfig
from locomt.data.dealing import read_rows
from locomt.data.errors import ManifestError
from locomt.data.row import Row
from locomt.data.splits import others_there
from locomt.tasks import LabelError
from locomt.tasks.label_text import is_written_list, not_a_list


def label_list(config: DataConfig) -> list[str]:
    """The names of the classes in their order; empty where labels are numbers.

    They are those of `config.labels` or else the labels of the training split, sorted as the task has it (as numbers
    where all of them are whole numbers), for which the manifest is read.

    Raises:
        ValueError: the manifest cannot be read, its training split has no labels, or they say nothing of their order.
    """
    if not config.target.has_classes:
        return []
    if config.labels is not None:
        return list(config.labels)
    rows = read_rows(config)
    training = [row for row in rows if row.split == config.train_split]
    _check_form(config, training)
    found = {name for cell in {row.label for row in training} for name in config.target.names(cell)}
    if not found:
        there = "" if training else others_there(config.train_split, (row.split for row in rows)) + "; "
        raise LabelError(
            f"{config.manifest}: no row of split {config.train_split!r} (data.train_split) has a label; {there}list "
            "them in data.labels or name another split"
        )
    try:
        return config.target.order(found)
    except LabelError as error:
        raise LabelError(f"{config.manifest}: {error}") from None


def _check_form(config: DataConfig, rows: Sequence[Row]) -> None:
    """Refuse a manifest most of whose cells are lists as a program prints them: no row of it says what it means."""
    labelled = [row for row in rows if row.label]
    lists = [row for row in labelled if is_written_list(row.label)]
    brackets = {row.label[0] for row in lists}
    alike = all(row.label[0] in brackets for row in labelled)  # beside [a, b] alone, [a] is a list of one
    if lists and (alike or 2 * len(lists) > len(labelled)):
        raise ManifestError(config.manifest, f"line {lists[0].number}: {not_a_list(lists[0].label)}")
