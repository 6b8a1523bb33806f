"""One process at a time in a directory, whatever becomes of the one before."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from locomt import lock
from locomt.files import write_text
from locomt.lock import LOCK, LockError, locked

SCRIPT = """
import sys, time
from pathlib import Path
from locomt.lock import LockError, locked

try:
    with locked(Path(sys.argv[1]), "below", patience=0.5):
        print("in", flush=True)
        time.sleep(float(sys.argv[2]))
except LockError as error:
    print(error, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made" / "folder"


def start(folder: Path, seconds: float = 600) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, folder, str(seconds)], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the directory."""
    with start(folder) as process:
        assert said(process) == "in"
        yield process
        process.kill()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_dead_owners_lock_is_taken_over_by_one_of_many(folder: Path, owner: subprocess.Popen[str]) -> None:
    with pytest.raises(LockError, match=f"is in use: process {owner.pid} on .* writes there"), locked(folder):
        pass
    owner.kill()
    owner.wait()
    assert (folder / LOCK).exists()
    others = [start(folder, 2) for _ in range(4)]
    answers = [said(process) for process in others]
    (one,) = (process for process, answer in zip(others, answers, strict=True) if answer == "in")
    assert sum(f"process {one.pid} on" in answer for answer in answers) == 3
    for process in others:
        process.communicate()
    assert list(folder.iterdir()) == []


def test_a_directory_is_made_and_unmade(folder: Path) -> None:
    with locked(folder):
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert not folder.parent.exists()

    def fail() -> None:
        with locked(folder):
            (folder / "file").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in folder.iterdir()] == ["file"]
    with locked(folder):
        pass
    assert folder.exists()


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(LockError, match=r"expected a directory, but .* is a file; name another"),
        locked(tmp_path / "file"),
    ):
        pass
    for place, reason in ((tmp_path / "file" / "run", "Not a directory"), (Path("/proc/nope/run"), "No such file")):
        with pytest.raises(OSError, match=f"cannot create this directory .{reason}.*/run'"), locked(place):
            pass


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(
    folder: Path, owner: subprocess.Popen[str]
) -> None:
    """The directory in which somebody works lies below that of the one who comes."""
    home = folder.parent
    dead = [home / ".file.csv.123.tmp", home / "runs" / "a" / ".last.ckpt.7.tmp", home / "runs" / ".model.9.tmp"]
    living = [folder / ".last.ckpt.8.tmp", folder / "checkpoints" / ".best.ckpt.8.tmp"]
    kept = [home / "file.csv", home / ".hidden.tmp", home / "elsewhere" / ".file.5.tmp", home / "runs" / "a" / "b.tmp"]
    for path in (*dead, *living, *kept):
        write_text(path / "weights" if path.name.startswith(".model") else path, "half")
    with locked(home, "runs", folder.name):
        assert not any(path.exists() for path in dead)
        assert all(path.exists() for path in (*living, *kept))
    owner.kill()
    owner.wait()
    with locked(home, folder.name):
        assert not any(path.exists() for path in living)


def test_what_is_left_of_taking_over_a_lock_is_removed_and_what_another_just_looks_at_is_not(folder: Path) -> None:
    """Taking over goes by way of files beside the lock, which stay where the process that takes over is killed."""
    record = "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=abc\nduration=1.0\n"
    dead = [folder / place / f"{LOCK}.{step}.7.{'0' * 32}" for place in ("", "below") for step in ("break", "restore")]
    for path, text in zip(dead, (record, "", record, ""), strict=True):
        write_text(path, text)
    with locked(folder, "below"):
        assert not any(path.exists() for path in dead)
        own = folder / f"{LOCK}.break.8.{'1' * 32}"
        shutil.copy(folder / LOCK, own)
        lock._sweep(folder)
        assert own.exists()


def test_a_lock_in_which_nothing_was_written_is_put_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process was killed between making the file and writing who it is."""
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    write_text(folder / LOCK, "")
    begun = time.monotonic()
    with locked(folder):
        assert f"pid={os.getpid()}\n" in (folder / LOCK).read_text()
    assert 0.2 <= time.monotonic() - begun < lock.LEASE
    assert list(folder.iterdir()) == []


def test_a_lock_that_is_written_after_all_is_put_back(folder: Path) -> None:
    write_text(folder / LOCK, "somebody")
    lock._put_away(folder / LOCK)
    assert [path.name for path in folder.iterdir()] == [LOCK]
    assert (folder / LOCK).read_text() == "somebody"


@pytest.fixture
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of a process of another machine, and times that are short."""
    monkeypatch.setattr(lock, "LEASE", 1.0)
    monkeypatch.setattr(lock, "BEAT", 0.2)
    text = "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=abc\nduration=1.0\n"
    write_text(folder / LOCK, text)
    return folder / LOCK


def test_another_machine_that_is_silent_is_taken_for_dead(elsewhere: Path) -> None:
    begun = time.monotonic()
    with locked(elsewhere.parent):
        assert time.monotonic() - begun >= 1
        assert f"pid={os.getpid()}\n" in elsewhere.read_text()
    assert not elsewhere.exists()


def test_another_machine_that_renews_its_lock_is_not(elsewhere: Path) -> None:
    over = Event()

    def renew() -> None:
        while not over.wait(0.2):
            os.utime(elsewhere)

    thread = Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(LockError, match="is in use: process 1 on elsewhere writes there"), locked(elsewhere.parent):
            pass
    finally:
        over.set()
        thread.join()
    assert "host=elsewhere" in elsewhere.read_text()


def test_a_process_that_has_lost_its_lock_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE", 0.5)
    monkeypatch.setattr(lock, "BEAT", 0.1)

    def work() -> None:
        with locked(folder):
            shutil.rmtree(folder)
            time.sleep(30)
            pytest.fail("nobody stopped it")

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        with pytest.raises(LockError, match="has been removed, or taken over"):
            work()
    finally:
        signal.signal(signal.SIGINT, handler)
