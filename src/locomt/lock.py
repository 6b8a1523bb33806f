"""One process at a time writes in a directory: the one whose file `.lock` stands there.

The file says which process it is, and is renewed while that process lives. It needs nothing of the file system but that
a file can be created once, so it works on NFS and between machines.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path

from filelock import SoftFileLease, Timeout

from locomt.files import leftovers, make_directory, remove

LOCK = ".lock"
BEAT, LEASE = 30.0, 180.0
"""Seconds: how often a process renews its lock, and the silence after which one of another machine is taken for dead.
(NFS may show times that are a minute old.)"""
PATIENCE = 2.0
"""Seconds that a process may take to end which was stopped a moment ago, or to write who it is into its lock."""


class LockError(ValueError):
    """A directory in which this process cannot write alone: says who is there, or why it cannot be known."""


@contextmanager
def locked(folder: Path, *below: str, patience: float | None = None) -> Iterator[None]:
    """Have a directory to oneself; make it where there is none, and unmake it again if it stays empty.

    What killed processes left half written in it is removed. A dead owner's lock is taken over: at once where it was a
    process of this machine, else after `LEASE` without a sign of life, for which is waited here. Processes that only
    read need no lock.

    Args:
        folder: the directory.
        below: directories in it, all of which is its process's to write, but for what has an owner of its own.
        patience: seconds to wait for another process of this machine; if None, `PATIENCE`.

    Raises:
        LockError: another process writes there; or, at the end, this process was silent for so long that another one
            took over.
        OSError: the directory cannot be made or written to.
    """
    made = _make(folder)
    lease = _lease(folder / LOCK)
    try:
        _acquire(lease, folder, PATIENCE if patience is None else patience)
        try:
            _sweep(folder)
            for name in below:
                _tidy(folder / name)
            yield
        except KeyboardInterrupt:
            if lease.compromise is None:
                raise
        finally:
            lease.release()
        if lease.compromise is not None:
            raise LockError(
                f"{folder} has been removed, or taken over while this process was silent for {LEASE:.0f} s or more; "
                "see that one process alone works there"
            )
    finally:
        for path in made:
            with suppress(OSError):  # it is in use
                path.rmdir()


def is_lock(path: Path) -> bool:
    """Whether a file in a directory is its lock, or what is left of one."""
    return path.name == LOCK or path.name.startswith((f"{LOCK}.break.", f"{LOCK}.restore."))


def _lease(path: Path) -> SoftFileLease:
    return SoftFileLease(
        path,
        lease_duration=LEASE,
        heartbeat_interval=BEAT,
        on_compromise=lambda loss: os.kill(os.getpid(), signal.SIGINT),  # out of whatever the main thread is at
    )


def _make(folder: Path) -> list[Path]:
    """Make a directory; those made, the innermost first."""
    if folder.exists() and not folder.is_dir():
        raise LockError(f"expected a directory, but {folder} is a file; name another")
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_directory(folder)
    return missing


def _acquire(lease: SoftFileLease, folder: Path, patience: float) -> None:
    """Take the lock, wait for one that may be a dead machine's, or say who has it."""
    begun, seen = time.monotonic(), _renewal(folder)
    empty: dict[tuple[int, int], float] = {}

    def is_owned() -> bool:
        owner = lease.owner
        if owner is None:  # it was just given up, is being written, or was never written: its process was killed
            now, found = time.monotonic(), _empty(folder / LOCK)
            if found is not None and now - empty.setdefault(found, now) > PATIENCE:
                _put_away(folder / LOCK)
            return False
        if owner.hostname == _this_machine():  # were that process dead, the lock would be ours by now
            return time.monotonic() - begun > patience
        return _renewal(folder) != seen

    try:
        lease.acquire(timeout=LEASE + BEAT, cancel_check=is_owned)
    except Timeout:
        owner = lease.owner
        who = "another process" if owner is None else f"process {owner.pid} on {owner.hostname.partition('?')[0]}"
        raise LockError(
            f"{folder} is in use: {who} writes there; wait for it, stop it, or name another directory"
        ) from None
    except OSError as error:
        reason = f"cannot write in this directory ({error.strerror or error})"
        raise OSError(error.errno or 0, reason, os.fspath(folder)) from None


def _empty(path: Path) -> tuple[int, int] | None:
    """Which file stands there with nothing written in it."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return None if found.st_size else (found.st_ino, found.st_mtime_ns)


def _put_away(path: Path) -> None:
    """Remove a lock in which nothing is written; one that another process puts in its place meanwhile stays."""
    aside = path.with_name(f"{LOCK}.break.{os.getpid()}.{secrets.token_hex(16)}")
    with suppress(OSError):
        path.rename(aside)
        if aside.stat().st_size:
            os.link(aside, path)
        aside.unlink()


def _renewal(folder: Path) -> float | None:
    """When the lock was last renewed, by the clock of the file system."""
    try:
        return (folder / LOCK).lstat().st_mtime
    except OSError:
        return None


@cache
def _this_machine() -> str:
    """What locks call this machine, or this container on it."""
    with tempfile.TemporaryDirectory() as folder, SoftFileLease(Path(folder, LOCK)) as lease:
        owner = lease.owner
    assert owner is not None
    return owner.hostname


def _sweep(folder: Path) -> set[str]:
    """Remove what killed processes left in a directory that is ours, also of taking over its lock; the names.

    A lock that is put aside and is our own is just being looked at by another process, which will put it back.
    """
    aside = [path for path in folder.iterdir() if is_lock(path) and path.name != LOCK]
    found = leftovers(folder) + [path for path in aside if not _lease(path).is_lock_held_by_us]
    for path in found:
        remove(path)
    return {path.name for path in found}


def _tidy(folder: Path) -> None:
    """Remove what killed processes left in a directory and those in it, but for those that somebody works in."""
    for path, names, files in os.walk(folder):
        try:
            with _lease(Path(path, LOCK)).acquire(timeout=0.1) if LOCK in files else nullcontext():
                swept = _sweep(Path(path))
                names[:] = [name for name in names if name not in swept]
        except Timeout:
            names.clear()
