"""Readers that do what none may do, by which the harness itself is tested."""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fuzz.target import Target


def make(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "x.json").write_text('{"a": 1, "b": [1, 2, 3]}')


def read_whole(folder: Path) -> None:
    """As a reader should."""
    try:
        json.loads((folder / "x.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"x.json: {error}") from None


def let_out(_: Path) -> None:
    {}["b"]


def end_itself(_: Path) -> None:
    sys.exit(0)


def name_nothing(_: Path) -> None:
    raise ValueError("cannot be")


def write_escapes(_: Path) -> None:
    sys.stderr.write("label \x1b]0;title\x07 is not on the list\n")


def write_traceback(_: Path) -> None:
    sys.stderr.write("Exception ignored in: f\nTraceback (most recent call last):\n")


def crash(_: Path) -> None:
    ctypes.string_at(0)


def hang(_: Path) -> None:
    time.sleep(60)


def take_memory(_: Path) -> None:
    """Never lets go of it, and never asks for much at once."""
    pieces = []
    for _ in range(40):
        pieces.append(bytearray(b"x" * 2**24))
        time.sleep(0.01)
    time.sleep(60)


def take_memory_for_a_moment(_: Path) -> None:
    bytearray(b"x" * (3 * 2**27))


def ask_for_too_much(_: Path) -> None:
    bytearray(2**40)


def hide_that_it_asked_for_too_much(_: Path) -> None:
    try:
        bytearray(2**40)
    except MemoryError:
        raise ValueError("x.json: out of memory") from None


FAULTS: dict[Callable[[Path], None], str] = {
    let_out: "traceback",
    end_itself: "traceback",
    name_nothing: "unnamed",
    write_escapes: "terminal",
    write_traceback: "terminal",
    crash: "crash",
    hang: "hang",
    take_memory: "memory",
    take_memory_for_a_moment: "memory",
    ask_for_too_much: "memory",
    hide_that_it_asked_for_too_much: "memory",
}
"""Reader -> what it is to be caught at."""
TARGETS = [Target(read.__name__, make, read) for read in (read_whole, *FAULTS)]
