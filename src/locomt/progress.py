"""How far long work is: told by what does it, heard by whoever listens. Nobody does, unless by `heard_by`.

What takes long says so by `stage`, and need not know who listens, nor where it is called from:

    with stage("reading", "samples", len(rows)) as seen:
        for row in rows:
            read(row)
            seen.add()

Where that is a loop over items, `for row in each("reading", "samples", rows)` is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Counted(Protocol[T_co]):
    """Items of which it is known how many they are: a list, a loader of batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


def _nothing() -> Sequence[str]:
    return ()


@dataclass(eq=False)
class Stage:
    """Work that is being done.

    Attributes:
        what: is done, in a word or two.
        unit: what is counted, in the plural.
        total: how many there are; None where nobody knows.
        listener: who hears of it.
        done: how many are done.
        facts: what else there is to say, such as "loss 0.512"; asked only when it is shown.
        first: how many were done when it began.
        begun: when that was, in seconds of `time.monotonic`.
        last: when the last of those that are done was.
    """

    what: str
    unit: str
    total: int | None
    listener: Listener
    done: int = 0
    facts: Callable[[], Sequence[str]] = _nothing
    first: int = 0
    begun: float = field(default_factory=lambda: time.monotonic())
    last: float = 0.0

    def begin(self, total: int, done: int = 0) -> None:
        """Say how much there is, of which so much was done before: the clock starts here."""
        self.total, self.done, self.first, self.begun = total, done, done, time.monotonic()
        self.listener.moved(self)

    def at(self, done: int, facts: Callable[[], Sequence[str]] | None = None) -> None:
        """Say how many are done."""
        if done != self.done:
            self.last = time.monotonic()
        self.done, self.facts = done, facts or self.facts
        self.listener.moved(self)

    def add(self, more: int = 1) -> None:
        """Say that more are done."""
        self.at(self.done + more)

    def note(self, line: str) -> None:
        """Say a line that is worth keeping. It is passed over where this is a part of other work, as one run of many
        is."""
        self.listener.noted(self, line)

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes, if it goes on as it did; None where that cannot be told yet."""
        if self.total is None or self.done <= self.first:
            return None
        each = (self.last - self.begun) / (self.done - self.first)
        return max(0.0, each * (self.total - self.done) - (time.monotonic() - self.last))


class Listener(Protocol):
    """Who hears of stages: of each that it begins, moves, has something to say, and ends; inner ones end first."""

    def began(self, stage: Stage) -> None: ...

    def moved(self, stage: Stage) -> None: ...

    def noted(self, stage: Stage, line: str) -> None: ...

    def ended(self, stage: Stage) -> None: ...


class _Nobody:
    def began(self, stage: Stage) -> None: ...

    def moved(self, stage: Stage) -> None: ...

    def noted(self, stage: Stage, line: str) -> None: ...

    def ended(self, stage: Stage) -> None: ...


_NOBODY = _Nobody()
_listener: ContextVar[Listener] = ContextVar("listener", default=_NOBODY)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Have somebody hear of all stages within the block."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def is_heard() -> bool:
    """Whether anybody listens: what is said by `Stage.note` may take a while to find out."""
    return _listener.get() is not _NOBODY


def each(what: str, unit: str, items: Counted[T]) -> Iterator[T]:
    """Items one after the other, each of which is done when the next one is asked for."""
    with stage(what, unit, len(items)) as seen:
        for item in items:
            yield item
            seen.add()


@contextmanager
def stage(what: str, unit: str, total: int | None = None) -> Iterator[Stage]:
    """Work that takes long, for as long as the block lasts."""
    listener = _listener.get()
    begun = Stage(what, unit, total, listener)
    listener.began(begun)
    try:
        yield begun
    finally:
        listener.ended(begun)
