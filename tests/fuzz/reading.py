"""Reads one input in this process, and says what became of it: what it raised, wrote, took."""

from __future__ import annotations

import os
import re
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\u202a-\u202e\ud800-\udfff]")
"""What must not reach a terminal."""
PROGRESS = re.compile(r"\r|\x1b\[[0-9;?]*[A-Za-z]")
MEMORY = re.compile(r"(?i)(out of|not enough|can't allocate) memory|MemoryError|bad_alloc|DefaultCPUAllocator")
"""What is said where too much was asked for; "Cannot allocate memory" is FFmpeg's word for sizes that it refuses."""


@dataclass(frozen=True)
class Limits:
    """What an input may take: seconds, and bytes of memory more than there were."""

    seconds: float = 20.0
    bytes: int = 2 * 2**30


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        number: of the input.
        kind: `read`, `refused`, or a fault: `traceback`, `terminal` (something unfit was written), `unnamed` (a refusal
            that names neither file nor field), `crash`, `hang`, `memory`.
        detail: the message, or where it went wrong.
        seconds: that it took.
        place: of the code at fault, by which faults are told apart.
    """

    number: int
    kind: str
    detail: str = ""
    seconds: float = 0.0
    place: str = ""

    @property
    def is_fault(self) -> bool:
        return self.kind not in ("read", "refused")


def read(target: Any, folder: Path, limits: Limits, number: int = 0) -> Outcome:
    """Read an input in this process."""
    from locomt.cli.main import describe

    started = time.monotonic()
    said = folder.with_name("said")
    screen = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    saved = os.dup(1), os.dup(2)
    sys.stdout.flush()
    _reset_peak()
    before = memory("VmRSS")
    place = ""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory("VmData") + 2 * limits.bytes, hard))  # others need theirs
    try:
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        reason = target.read(folder)
        kind, detail = ("refused", reason) if reason else ("read", "")
    except (ValueError, OSError) as error:
        kind, detail = "refused", describe(error)
        if target.named and not _names(detail, folder):
            kind, place = "unnamed", _place(error)
            detail = f"{type(error).__name__}: {detail}"
        elif fault := _unfit(detail):
            kind, place, detail = "terminal", _place(error), fault
    except BaseException as error:  # SystemExit too
        kind, place = "traceback", _place(error)
        detail = "".join(traceback.format_exception(error))[-4000:]
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        sys.stdout.flush()
        sys.stderr.flush()
        for number_of, file in enumerate(saved, start=1):
            os.dup2(file, number_of)
            os.close(file)
        os.close(screen)
    seconds, peak = time.monotonic() - started, memory("VmHWM") - before
    text = text_of(said)
    if kind in ("read", "refused", "unnamed") and (fault := _unfit(text)):
        kind, detail, place = "terminal", fault, fault[:60]
    if peak > limits.bytes or (kind != "read" and MEMORY.search(detail)) or MEMORY.search(text):
        kind, detail, place = "memory", f"{peak / 2**30:.1f} GiB more; {detail or text[-300:]}", f"memory {place}"
    if seconds > limits.seconds:
        kind, detail, place = "hang", f"{seconds:.0f} s; {detail}", "hang"
    return Outcome(number, kind, detail, round(seconds, 3), place)


def _unfit(text: str) -> str:
    """What is wrong with what was written to the terminal."""
    if "Traceback (most recent call last)" in text:
        return text[text.index("Traceback") :][:4000]
    shown = PROGRESS.sub("", text)
    if found := CONTROL.search(shown):
        return f"{found[0]!r} was written: {shown[max(0, found.start() - 100) : found.end() + 50]!r}"
    return ""


def _names(message: str, folder: Path) -> bool:
    """Whether an error names a file of the input, or a field."""
    if re.search(r"\b(model|data|train)\.\w+|\bmodality '|--\w|override", message):
        return True
    names = {file.name for file in folder.rglob("*")} | {folder.name}
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message) for name in names)


def _place(error: BaseException) -> str:
    """The innermost line of the package, and the error."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    if type(error).__name__ == "FaultError":
        return re.sub(r"[\d.e+-]+", "N", str(error))[:60]
    own = [frame for frame in frames if "/locomt/" in frame.filename] or frames
    where = f"{own[-1].filename.rpartition('/locomt/')[2]}:{own[-1].name}" if own else ""
    return f"{type(error).__name__} in {where}"


def text_of(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "surrogateescape") if file.exists() else ""


def memory(field: str, pid: int | str = "self") -> int:
    """Bytes, as the system counts them; 0 where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
