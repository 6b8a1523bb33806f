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
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random
from typing import IO, Any

from fuzz.reading import Limits, Outcome, memory, read, text_of

MODULES = ("fuzz.media", "fuzz.tables", "fuzz.shards", "fuzz.folders")
BATCH = 400
"""Inputs to a child; what they leave behind in it goes with it."""
ENDED = "ended"
OWN_FAULT = 70
"""Exit code of a child in which not the input but the harness failed."""
ROOTS = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "support")]


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
        out.write(json.dumps([number, memory("VmRSS")]) + "\n")
        with (work / str(number) / "stack").open("wb") as stack:  # where it stands when it dies, or has to be ended
            faulthandler.enable(stack)
            faulthandler.dump_traceback_later(limits.seconds, file=stack)
            outcome = read(target, work / str(number) / name, limits, number)
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
        out.write(json.dumps(asdict(outcome)) + "\n")


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
                elif memory("VmRSS", pid) - before > limits.bytes:
                    fault = "memory"
                if fault:
                    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if status:
        code, seconds = os.waitstatus_to_exitcode(status), round(time.monotonic() - since, 3)
        if code == OWN_FAULT:
            raise RuntimeError(f"the harness itself failed at input {number}")
        stack = text_of(work / str(number) / "stack")[-3000:]
        own = re.findall(r'File ".*/locomt/(.*)", line \d+ in (.*)', stack)
        place = ":".join(own[0]) if own else str(code)
        kind = fault or "crash"
        yield Outcome(number, kind, f"ended with code {code}\n{stack}", seconds, f"{kind} in {place}")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Limits(**json.loads(sys.argv[2])), sys.argv[3:])
