"""What the machine lacks, told apart from mistakes and bugs: disk, memory, file descriptors, killed processes."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path

CODES = {
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
    errno.EFBIG: "disk",
    errno.EIO: "device",
    errno.EMFILE: "files",
    errno.ENFILE: "files",
    errno.ENOMEM: "memory",
    errno.EAGAIN: "processes",
}
"""Errors of the operating system that no other command line would mend: what is short."""
TEXTS = (  # of torch, numpy and the data loader, which have no error codes; the first that is found counts
    ("shared", r"shared memory|/torch_\d+_\d+|killed by signal: Bus error"),
    ("files", r"Too many open files|items of ancdata|Communication with the workers is no longer possible"),
    ("killed", r"DataLoader worker \(pid.*?(exited unexpectedly|killed by signal: [\w ]+)|terminated abruptly"),
    ("memory", r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory|ALLOC_FAILED"),
    ("memory", r"Storage size calculation overflowed"),
    ("processes", r"can't start new thread|Resource temporarily unavailable"),
)
ADVICE = {
    "disk": "make room there, or name another directory",
    "device": "the disk, or the network to it, may be failing",
    "files": "raise that limit (`ulimit -n`) or lower data.workers",
    "shared": "enlarge it (in Docker: --shm-size) or set data.workers to 0",
    "killed": "most often because memory ran out: lower --jobs, data.workers or train.batch_size",
    "memory": "lower train.batch_size, data.workers or the size of the model",
    "processes": "raise that limit (`ulimit -u`) or lower data.workers and --jobs",
}


class MachineError(RuntimeError):
    """Work that stopped because the machine lacks something: says what, where and what to do, in a line."""


@contextmanager
def telling(where: str | Path, *, need: Callable[[], str] | None = None, then: str = "") -> Iterator[None]:
    """Raise what the machine lacks within the block as a `MachineError`; mistakes and bugs pass.

    Args:
        where: the file or directory that is written to, where the error does not know it.
        need: words on how much memory the work takes; asked where it was memory.
        then: how to go on.
    """
    try:
        yield
    except MachineError:
        raise
    except errors() as error:
        line = describe(error, where, need)
        if line is None:
            raise
        raise MachineError(f"{line}; {then}" if then else line) from error


def errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """The types of errors that may be of the machine, and `more`."""
    safetensors = sys.modules.get("safetensors")
    return (OSError, RuntimeError, MemoryError, *more, *([safetensors.SafetensorError] if safetensors else []))


def describe(error: BaseException, where: str | Path = "", need: Callable[[], str] | None = None) -> str | None:
    """What the machine lacked, the path or the need, and what to do, as one line; None where it lacked nothing."""
    for cause in causes(error):
        if isinstance(cause, MachineError):
            return last_line(cause)
        text, number = last_line(cause), code_of(cause)
        kind = _kind(cause, text) if number is None else CODES.get(number)
        if kind is None:
            continue
        path = getattr(cause, "filename", None) or where
        told = f"{os.fsdecode(path)}: " if path and kind in ("disk", "device") else ""
        known = f" ({need()})" if need and kind in ("memory", "killed") else ""
        return f"{told}{_what(kind, number, text)}{known}; {ADVICE[kind]}"
    return None


def tell_of_machine(error: BaseException) -> None:
    """Where a file could not be read for want of descriptors, which says nothing about the file.

    Raises:
        MachineError: that it is so.
    """
    if any(CODES.get(code_of(cause) or 0) == "files" for cause in causes(error)):
        raise MachineError(describe(error)) from error


def code_of(error: BaseException) -> int | None:
    """The number that the operating system gave, also where a data loader or safetensors wrapped it in a text."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
        found = re.search(r"(?:\[Errno |\(os error )(\d+)", last_line(error))
        return int(found[1]) if found else None
    return None


def last_line(error: BaseException) -> str:
    """What an error says; where a worker of a data loader sent it home with its traceback, what it said there."""
    lines = str(error).strip().splitlines() or [""]
    if not lines[0].startswith("Caught "):
        return " ".join(str(error).split())
    return lines[-1].partition(": ")[2] or lines[-1]


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came of; torch's own words about a full disk hide the error of the file."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _kind(error: BaseException, text: str) -> str | None:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BrokenExecutor):
        return "killed"
    if not isinstance(error, RuntimeError | OSError):
        return None
    return next((kind for kind, pattern in TEXTS if re.search(pattern, text)), None)


def _what(kind: str, number: int | None, text: str) -> str:
    match kind:
        case "disk" | "device":
            assert number is not None
            return os.strerror(number)
        case "files":
            return f"too few file descriptors, {_limit()} a process"
        case "shared":
            return "shared memory (/dev/shm) is full, by which workers hand over samples"
        case "killed":
            signal = re.search(r"killed by signal: (\w+)", text)
            return f"a worker process was killed ({signal[1]})" if signal else "a worker process died"
        case "memory":
            asked = re.search(r"[Tt]ried to allocate (\d[\d.]* ?\w+)|Unable to allocate (\d[\d.]* ?\w+)", text)
            device = "the GPU's memory" if re.search(r"CUDA|CUBLAS|CUDNN", text) else "memory"
            return f"{device} ran out{_asked(asked[1] or asked[2]) if asked else ''}"
        case _:
            return "no further process or thread can be started"


def _asked(size: str) -> str:
    """` asking for 2.00 GiB`, from that or from a number of bytes."""
    number, _, unit = size.partition(" ")
    return f" asking for {gib(int(number))}" if unit == "bytes" else f" asking for {size.rstrip('.')}"


def gib(size: float) -> str:
    """Bytes in words: 0.2 MiB, 1.5 GiB, 3,210.0 GiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def _limit() -> str:
    try:
        import resource
    except ImportError:  # Windows has none
        return "as many as the system allows"
    return str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
