"""What a command says of a manifest before it works on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locomt.data import DataConfig


def say_notes(*manifests: DataConfig) -> None:
    """The classes with their counts, and what may have been overlooked, on stderr."""
    from locomt.cli.output import console
    from locomt.data.overview import manifest_notes

    for data in manifests:
        for note in manifest_notes(data):
            console().print(note, markup=False, highlight=False, soft_wrap=True)
