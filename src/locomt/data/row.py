"""A row of a manifest, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass

from locomt.tasks.class_names import clean


@dataclass(frozen=True)
class Row:
    """One sample as the manifest has it.

    Attributes:
        number: its line in the file, from 1; in a Parquet file its row, from 1.
        cells: column -> text, for all columns of the manifest; empty where there is nothing.
    """

    number: int
    cells: dict[str, str]

    @property
    def id(self) -> str:
        return self.cells["id"].strip()

    @property
    def split(self) -> str:
        return clean(self.cells["split"])

    @property
    def label(self) -> str:
        return clean(self.cells["label"])
