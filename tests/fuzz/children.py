"""Runs inputs in forked children, so that nothing which an input does can hurt more than one of them.

`Server` starts a clean process that imports everything once, has no threads, and forks: a child makes and reads
input after input and says before each which one it is. What it does not survive, takes too long over or takes too much
memory for is put down to that input, and another child goes on after it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import IO, Any

MODULES = ("fuzz.media", "fuzz.tables", "fuzz.folders")
BATCH = 400
"""Inputs to a child; what they leave behind in it goes with it."""
ENDED = "ended"
OWN_FAULT = 70
"""Exit code of a child in which not the input but the harness failed."""
CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\u202a-\u202e\ud800-\udfff]")
"""What must not reach a terminal."""
PROGRESS = re.compile(r"\r|\x1b\[[0-9;?]*[A-Za-z]")
MEMORY = re.compile(r"(?i)(out of|not enough|can't allocate) memory|MemoryError|bad_alloc|DefaultCPUAllocator")
"""What is said where too much was asked for; "Cannot allocate memory" is FFmpeg's word for sizes that it refuses."""
ROOTS = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "data")]


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


class Server:
    """The process that forks, seen from the tests.

    Args:
        folder: for the inputs.
        modules: where the targets are.
        limits: of an input.
    """

    def __init__(self, folder: Path, modules: Sequence[str] = MODULES, limits: Limits | None = None) -> None:
        self.folder = folder
        path = os.pathsep.join([*ROOTS, *(entry for entry in sys.path if entry)])
        offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "2"}
        limits = json.dumps(asdict(limits or Limits()))
        command = [sys.executable, "-m", "fuzz.children", str(folder), limits, *modules]
        environment = os.environ | offline | {"PYTHONPATH": path, "MPLBACKEND": "agg", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1
        )

    def run(self, target: str, seed: int, first: int, last: int, seconds: float) -> Iterator[Outcome]:
        """Try the inputs from `first` to before `last` as long as there is time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([target, seed, first, last, seconds]) + "\n")
        for line in self.process.stdout:
            if line.strip() == ENDED:
                return
            yield Outcome(**json.loads(line))
        raise RuntimeError(f"the server of the fuzz tests ended with code {self.process.wait()}")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve(folder: Path, limits: Limits, modules: Sequence[str]) -> None:
    """Take requests from stdin, answer them on stdout."""
    targets = load_targets(modules)
    answers, silent = os.fdopen(os.dup(1), "w", buffering=1), os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 1)
    for line in sys.stdin:
        name, seed, first, last, seconds = json.loads(line)
        for outcome in run_in_children(targets[name], folder, limits, seed, first, last, seconds):
            answers.write(json.dumps(asdict(outcome)) + "\n")
        answers.write(ENDED + "\n")


def load_targets(modules: Sequence[str]) -> dict[str, Any]:
    from importlib import import_module

    import torch

    torch.set_num_threads(1)
    return {target.name: target for module in modules for target in import_module(module).TARGETS}


def run_in_children(
    target: Any, folder: Path, limits: Limits, seed: int, first: int, last: int, seconds: float
) -> Iterator[Outcome]:
    """As `Server.run`, within the server."""
    seeds = folder / target.name / "seeds"
    if not seeds.exists():
        _in_child(lambda _: target.make(seeds), seeds)
    end, number = time.monotonic() + seconds, first
    while number < last and time.monotonic() < end:
        work = folder / target.name / "work"
        stop = min(last, number + BATCH)
        make = partial(_work, target, seeds, work, limits, seed, range(number, stop), end)
        pid, pipe = _fork(make)
        for outcome in _watch(pid, pipe, limits, number, work):
            if outcome.is_fault:
                kept = folder / "faults" / f"{target.name}-{seed}-{outcome.number}"
                shutil.rmtree(kept, ignore_errors=True)
                if (at := work / str(outcome.number)).exists():
                    kept.parent.mkdir(exist_ok=True)
                    shutil.move(at / "case", kept)
            shutil.rmtree(work / str(outcome.number), ignore_errors=True)
            number = outcome.number + 1
            yield outcome


def _in_child(make: Any, seeds: Path) -> None:
    """Make the right files, with whatever threads the libraries begin."""
    seeds.mkdir(parents=True)
    pid, pipe = _fork(make)
    with pipe:
        pipe.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"{seeds} could not be made")


def _fork(work: Any) -> tuple[int, IO[bytes]]:
    """A child that does some work, and what it has to say."""
    here, there = os.pipe()
    pid = os.fork()
    if pid:
        os.close(there)
        return pid, os.fdopen(here, "rb", buffering=0)
    code = OWN_FAULT
    try:
        os.close(here)
        with os.fdopen(there, "w", buffering=1) as out:
            work(out)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _work(
    target: Any, seeds: Path, work: Path, limits: Limits, seed: int, numbers: range, end: float, out: IO[str]
) -> None:
    """In a child: make and read inputs, and say what became of each."""
    from fuzz.formats import read_case, write_case

    cases = {path.name: read_case(path) for path in sorted(seeds.iterdir())}
    names = list(cases)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        if time.monotonic() > end:
            return
        rng = Random(f"{target.name} {seed} {number}")
        name = rng.choice(names)
        place = work / str(number) / "case" / name
        write_case(target.damaged(rng, cases[name]), place)
        shutil.copytree(place, work / str(number) / name)
        out.write(json.dumps([number, _memory("VmRSS")]) + "\n")
        with (work / str(number) / "stack").open("wb") as stack:  # where it stands when it dies, or has to be ended
            faulthandler.enable(stack)
            faulthandler.dump_traceback_later(limits.seconds, file=stack)
            outcome = read(target, work / str(number) / name, limits, number)
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
        out.write(json.dumps(asdict(outcome)) + "\n")


def read(target: Any, folder: Path, limits: Limits, number: int = 0) -> Outcome:
    """Read an input in this process."""
    from locomt.cli.main import describe

    started = time.monotonic()
    said = folder.with_name("said")
    screen = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    saved = os.dup(1), os.dup(2)
    sys.stdout.flush()
    _reset_peak()
    before = _memory("VmRSS")
    place = ""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_memory("VmData") + 2 * limits.bytes, hard))  # others need theirs
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
    seconds, peak = time.monotonic() - started, _memory("VmHWM") - before
    text = _text(said)
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
    if re.search(r"\b(model|data|train)\.\w+|--\w|override", message):
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


def _watch(pid: int, pipe: IO[bytes], limits: Limits, first: int, work: Path) -> Iterator[Outcome]:
    """What a child says, and what it can no longer say."""
    number, before, since = first, 0, time.monotonic()
    fault, waiting = "", b""
    with pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], 0.1)
            if ready:
                if not (piece := os.read(pipe.fileno(), 2**16)):
                    break
                *lines, waiting = (waiting + piece).split(b"\n")
                for line in lines:
                    entry = json.loads(line)
                    if isinstance(entry, list):
                        number, before = entry
                        since = time.monotonic()
                        continue
                    yield Outcome(**entry)
                    number, before = entry["number"] + 1, 0
            elif not fault and before:
                if time.monotonic() - since > limits.seconds + 1:
                    fault = "hang"
                elif _memory("VmRSS", pid) - before > limits.bytes:
                    fault = "memory"
                if fault:
                    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if status:
        if os.waitstatus_to_exitcode(status) == OWN_FAULT:
            raise RuntimeError(f"the harness itself failed at input {number}")
        code, seconds = os.waitstatus_to_exitcode(status), round(time.monotonic() - since, 3)
        stack = _text(work / str(number) / "stack")[-3000:]
        own = re.findall(r'File ".*/locomt/(.*)", line \d+ in (.*)', stack)
        place = ":".join(own[0]) if own else str(code)
        yield Outcome(
            number, fault or "crash", f"ended with code {code}\n{stack}", seconds, f"{fault or 'crash'} in {place}"
        )


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "surrogateescape") if file.exists() else ""


def _memory(field: str, pid: int | str = "self") -> int:
    """Bytes, as the system counts them; 0 where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Limits(**json.loads(sys.argv[2])), sys.argv[3:])
