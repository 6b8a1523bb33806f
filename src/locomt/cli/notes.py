"""What a command says along the way, on stderr: a line, what there is to say of a manifest, cautions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locomt.data import DataConfig


def say(line: str) -> None:
    """A line as it is."""
    from locomt.cli.output import console

    console().print(line, markup=False, highlight=False, soft_wrap=True)


def say_notes(*manifests: DataConfig) -> None:
    """The classes with their counts, what may have been overlooked, and why results will say little."""
    from locomt.data.overview import manifest_cautions, manifest_notes, overview

    for data in manifests:
        found = overview(data)
        for note in manifest_notes(data, found):
            say(note)
        say_cautions(manifest_cautions(data, found))


_cautions: ContextVar[set[str] | None] = ContextVar("cautions", default=None)


@contextmanager
def said_once() -> Iterator[None]:
    """Have each caution said once within the block."""
    before = _cautions.set(set())
    try:
        yield
    finally:
        _cautions.reset(before)


def say_cautions(lines: Iterable[str]) -> None:
    """Where results say little, as `locomt.cautions` has it."""
    said = _cautions.get()
    for line in lines:
        if said is None or line not in said:
            say(f"caution: {line}")
        if said is not None:
            said.add(line)
