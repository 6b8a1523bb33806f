"""Programs in processes of their own that need not import torch and Lightning first, which takes ten seconds each.

A server, a clean process without threads, has imported them once; what is run is a fork of it, with arguments,
environment and working directory of its own. To others it is what `python ARGUMENTS` would be: a process that signals
reach and that exits with a code.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = ("locomt.train.fitting", "locomt.train.runs", "locomt.data.shards.prepare")


@dataclass
class Fork:
    """A program that runs, or has run.

    Attributes:
        pid: its process.
        out, err: the files that take what it writes.
        code: its exit code, below 0 for a signal; None while it runs.
    """

    server: Server
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.code is None:
            self.code = self.server.ask(wait=self.pid)
        return self.code

    def wait(self, seconds: float = 120) -> int:
        """The exit code, once it has ended."""
        end = time.monotonic() + seconds
        while self.poll() is None:
            assert time.monotonic() < end, f"{self.pid} does not end: {self.err.read_text()}"
            time.sleep(0.02)
        assert self.code is not None
        return self.code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        self.wait()


def start(*words: object) -> AbstractContextManager[Fork]:
    """Run `python WORDS`, a script or `-m` a module, here and with this environment; in the end it is killed."""
    return _server().start(words)


def run(*words: object, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` to its end."""
    with start(*words) as fork:
        code = fork.wait(seconds)
    return subprocess.CompletedProcess(words, code, fork.out.read_text(), fork.err.read_text())


@cache
def _server() -> Server:
    server = Server()
    atexit.register(server.close)
    return server


class Server:
    """The process that forks, seen from the tests."""

    def __init__(self) -> None:
        self.folder, self.count = tempfile.TemporaryDirectory(prefix="forks-"), 0
        path = os.pathsep.join([str(Path(__file__).parent), *(entry for entry in sys.path if entry)])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "forks", *IMPORTED],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1,
        )  # fmt: skip

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        answer = self.process.stdout.readline()
        assert answer, "the server that forks has ended"
        return json.loads(answer)

    @contextmanager
    def start(self, words: Sequence[object]) -> Iterator[Fork]:
        self.count += 1
        out, err = (Path(self.folder.name, f"{self.count}.{name}") for name in ("out", "err"))
        place = {"cwd": os.getcwd(), "environment": dict(os.environ), "out": str(out), "err": str(err)}
        fork = Fork(self, self.ask(words=[str(word) for word in words], **place), out, err)
        try:
            yield fork
        finally:
            fork.kill()

    def close(self) -> None:
        self.process.communicate()
        self.folder.cleanup()


def serve(modules: list[str]) -> dict[str, Any] | None:
    """Fork for each request from stdin, or say whether a fork has ended; in a fork, what it is to do."""
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # so that forks share it
    threads = len(os.listdir("/proc/self/task")) if Path("/proc").is_dir() else 1
    assert threads == 1, f"expected a process without threads, got {threads}"
    answers, silent = os.fdopen(os.dup(1), "w", buffering=1), os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 1)
    for line in sys.stdin:
        request = json.loads(line)
        if "words" in request:
            if not (answer := os.fork()):
                answers.close()
                return request
        else:
            ended, status = os.waitpid(request["wait"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        answers.write(json.dumps(answer) + "\n")
    return None


def become(request: dict[str, Any]) -> NoReturn:
    """In a fork: be the program, and end without unloading what was imported, which would take half a second."""
    code: object = 0
    try:
        _run(request)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _run(request: dict[str, Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    first, *words = request["words"]
    if first == "-m":
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *words]
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__" and (asked := serve(sys.argv[1:])):
    become(asked)
