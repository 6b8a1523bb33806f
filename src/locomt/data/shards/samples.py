"""What is read of samples to be stored: in their order, by several processes at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from locomt.data.config import DataConfig
from locomt.data.errors import DataError
from locomt.data.manifest_files import ManifestFiles
from locomt.data.media.read import MediaFiles
from locomt.data.row import Row
from locomt.data.shards.storage import Storage, Stored
from locomt.faults import MachineError, tell_of_machine
from locomt.processes import Workers, forked_from
from locomt.processes import workers as worker_pool

AHEAD = 2
"""Samples a process that are read, or being read, while an earlier one is waited for: all are held in memory."""

Read = tuple[dict[str, Stored], dict[str, dict[str, str]]]
"""Of a sample: what its modalities are stored as, and for those that cannot be read the file and the reason."""


@contextmanager
def reading(config: DataConfig, storage: Storage, workers: int) -> Iterator[Callable[[Iterable[Row]], Iterator[Read]]]:
    """Read rows by so many processes, 0: in this one.

    Gives a function of rows, which reads them and gives what it read in their order. Whatever shards they are for, no
    process waits for another but at the end.

    Raises:
        MachineError: a process died.
    """
    if not workers:
        yield lambda rows: (read_parts(row, config, storage) for row in rows)
        return
    try:
        with worker_pool(workers, forked_from(__name__), _begin_worker, config, storage) as pool:
            yield lambda rows: _in_order(pool, rows, AHEAD * workers)
    except BrokenProcessPool:
        raise MachineError(
            "a worker process died: the memory may be too small for so many (--workers), or a decoder crashed; "
            "with --workers 0 it shows where. The same command goes on after the shards that are done"
        ) from None


def _in_order(pool: Workers, rows: Iterable[Row], ahead: int) -> Iterator[Read]:
    left, waiting = iter(rows), deque[Future[Read]]()
    while True:
        while len(waiting) < ahead and (row := next(left, None)) is not None:
            waiting.append(pool.submit(_read_in_worker, row))
        if not waiting:
            return
        while not waiting[0].done():
            pool.ended()
        while pool.ended(timeout=0):  # it would keep what it was not asked for
            pass
        yield waiting.popleft().result()


_worker: tuple[DataConfig, Storage]
"""What a worker process was begun with."""


def _begin_worker(config: DataConfig, storage: Storage) -> None:
    global _worker
    _worker = (config, storage)
    torch.set_num_threads(1)


def _read_in_worker(row: Row) -> Read:
    return read_parts(row, *_worker)


def read_parts(row: Row, config: DataConfig, storage: Storage) -> Read:
    """What a row's modalities are stored as, and for those that cannot be read the file and the reason."""
    parts, failed = {}, {}
    manifest = Path(config.manifest)
    named = ManifestFiles(manifest, allow_outside=config.allow_outside)
    with MediaFiles() as files:
        for name, source in config.modalities.items():
            cell = row.cells[source.column].strip()
            if not cell:
                continue
            try:
                part: Any = cell
                if source.names_file:
                    part = source.open(named.find(cell), files)
                parts[name] = source.store(part, storage)
            except DataError as error:
                tell_of_machine(error)
                failed[name] = {
                    "file": manifest.name if error.file == str(manifest) else cell,
                    "reason": error.reason,
                    **({"kind": error.kind} if error.kind else {}),
                }
            except OSError as error:
                tell_of_machine(error)
                failed[name] = {"file": cell, "reason": error.strerror or str(error)}
    return parts, failed
