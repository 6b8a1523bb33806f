"""Worker processes that end with the one that started them, however that ends, and leave nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
TERMINATED = 128 + signal.SIGTERM  # the exit code that shells report for SIGTERM
GRACE = 20.0
"""Seconds that workers have to end in after they were told to; what they are at is whole or not there in any case."""

_told_to_stop = False


class Workers:
    """Processes that do what they are given.

    What has ended is told by a queue: `concurrent.futures.wait` locks all that it waits for, and what a signal raises
    amid it would leave some of them locked for ever.
    """

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool, self._ended = pool, SimpleQueue[Future[Any]]()

    def submit(self, function: Callable[..., T], /, *args: Any) -> Future[T]:
        """Have a worker call a function, which must be one of a module."""
        with _signals_held_back():
            future = self._pool.submit(_work, function, *args)
        future.add_done_callback(self._ended.put)
        return future

    def ended(self, timeout: float | None = None) -> Future[Any] | None:
        """The next call that has ended, each once; None where none does in so many seconds."""
        try:
            return self._ended.get(timeout=timeout)
        except Empty:
            return None


@contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM raise SystemExit here, so that files, locks and workers are put in order on the way out."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number: int, frame: object) -> None:
    global _told_to_stop
    _told_to_stop = True
    signal.signal(number, signal.SIG_IGN)  # once is enough: a second one would cut the tidying short
    raise SystemExit(TERMINATED)


def forked_from(module: str) -> Any:
    """A context of `multiprocessing` whose processes are forked from one that has imported a module, and done no more.

    They need not import it each for itself. A fork of this process may hang, where torch has started threads. Where
    there is no such thing, processes are started anew.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


@contextmanager
def workers(count: int, context: Any, begin: Callable[..., None], *args: Any) -> Iterator[Workers]:
    """So many processes, each of which calls `begin` first. When the block is left by an error they end at once.

    Args:
        count: of the processes.
        context: of `multiprocessing`.
        begin, args: a function of a module, and what it is given.
    """
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, context, _begin, (begin, args))
    try:
        yield Workers(pool)
    except BaseException:
        own = set(multiprocessing.active_children()) - others
        for process in own:
            process.terminate()
        last = threading.Timer(GRACE, _kill, [own])
        last.start()
        pool.shutdown(cancel_futures=True)
        last.cancel()
        raise
    pool.shutdown()


def _kill(processes: Iterable[BaseProcess]) -> None:
    for process in processes:
        process.kill()


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Signals wait meanwhile, and in processes that are started until these have begun: no traceback of imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(begin: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is to be tidied yet, and what is raised here is printed
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*args)
    try:
        signal.signal(signal.SIGTERM, _stop)
    except SystemExit:  # told to stop at this very moment
        os._exit(TERMINATED)


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on, beside whoever goes on with its work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _work(function: Callable[..., T], *args: Any) -> T:
    if _told_to_stop:  # this is what was waiting behind that which was stopped
        raise SystemExit(TERMINATED)
    return function(*args)
