"""What is to be made in a folder of shards: put down before the first shard, and compared when it is gone on with."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from locomt.data.config import DataConfig
from locomt.data.row import Row
from locomt.data.shards.index import VERSION, read_place, stored_fields
from locomt.data.shards.storage import Storage
from locomt.data.shards.writer import key_of
from locomt.files import to_json, write_text
from locomt.hints import in_short
from locomt.lock import is_lock, locked


class PrepareError(ValueError):
    """A folder in which these shards cannot be made: says why and what to do."""


@dataclass(frozen=True)
class PlannedShard:
    """One shard: its path, the note of what it holds, its samples and their keys."""

    tar: Path
    note: Path
    rows: list[tuple[str, Row]]

    def read_note(self, modalities: Iterable[str]) -> dict[str, Any] | None:
        """What the shard holds if it is done; a note that is not what was written says that it is not."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            size, digest = note["bytes"], note["sha256"]
            if size != self.tar.stat().st_size or not isinstance(digest, str):
                return None
            found = {row.id: note["places"][row.id] for _, row in self.rows}
            shard = {self.tar.name: note}
            places = {name: None if f is None else asdict(read_place(f, shard)) for name, f in found.items()}
        except (FileNotFoundError, *_BROKEN):
            return None
        known = all(place["failed"].keys() <= set(modalities) for place in places.values() if place)
        return {"bytes": size, "sha256": digest, "places": places} if known else None


def begin(out: Path, config: DataConfig, storage: Storage, rows: Sequence[Row]) -> None:
    """Put down what is to be made in a folder, or check that it is what was begun there.

    Raises:
        PrepareError: it is something else, and what differs.
    """
    plan = {
        "version": VERSION,
        "modalities": {name: stored_fields(source) for name, source in config.modalities.items()},
        "storage": asdict(storage),
    }
    lines = "".join(to_json({"row": row.number, "cells": row.cells}) + "\n" for row in rows)
    plan_file, rows_file = out / "journal" / "plan.json", out / "journal" / "rows.jsonl"
    if not plan_file.exists():
        write_text(rows_file, lines)
        write_text(plan_file, json.dumps(plan, indent=1) + "\n")  # last: from here on something was begun
        return
    with _naming(plan_file):
        differing = _differences(json.loads(plan_file.read_text(encoding="utf-8")), plan)
    with _naming(rows_file):
        differing += _changed_rows(rows_file.read_text(encoding="utf-8"), lines)
    if differing:
        raise PrepareError(
            f"{out} was begun with another recipe or manifest: {in_short(differing)}; change it back, or name another "
            "folder"
        )


_BROKEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What comes of reading a JSON file as what it is not."""


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise PrepareError(
            f"{file}: not what `locomt prepare` writes ({error!r:.100}); remove {file.parents[1]} and prepare anew"
        ) from None


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(key for key in now if key not in before)]
        return [text for key in names for text in _differences(before.get(key), now.get(key), f"{name}.{key}")]
    return [] if before == now else [f"{name[1:]} was {before!r} and is now {now!r}"]


def _changed_rows(before: str, now: str) -> list[str]:
    if before == now:
        return []
    old, new = ([json.loads(line) for line in text.splitlines()] for text in (before, now))
    if len(old) != len(new):
        return [f"the manifest had {len(old)} rows and now has {len(new)}"]
    moved = [f"row {a['row']} is now row {b['row']}" for a, b in zip(old, new, strict=True) if a["row"] != b["row"]]
    columns: dict[str, list[str]] = {}
    for a, b in zip(old, new, strict=True):
        for name in {**a["cells"], **b["cells"]}:
            for text in _differences(a["cells"].get(name), b["cells"].get(name), f".column.{name}"):
                columns.setdefault(name, []).append(f"row {b['row']}, {text}")
    changed = [
        texts[0] + (f", and it has changed in {len(texts) - 1} other rows" if texts[1:] else "")
        for texts in columns.values()
    ]
    return [*moved[:1], *changed] or ["the manifest's rows"]


@contextmanager
def begun_in(out: Path) -> Iterator[None]:
    """Have a folder of shards to oneself, as `locomt.lock.locked`.

    Raises:
        PrepareError: the folder holds something else than shards.
        LockError: another process prepares data there.
    """
    journal = out / "journal"
    begun = (journal / "plan.json").exists() or not out.exists()
    if not begun and (not out.is_dir() or any(path != journal and not is_lock(path) for path in out.iterdir())):
        raise PrepareError(f"{out} is no empty folder and holds no shards that were begun; name another one")
    with locked(out, "journal"):
        yield


def lay_out(rows: Iterable[Row], out: Path, storage: Storage) -> list[PlannedShard]:
    """Which samples go to which shard, in which order: a split's own shards, shuffled within the split."""
    splits: dict[str, list[tuple[str, Row]]] = {}
    for number, row in enumerate(rows):
        splits.setdefault(row.split, []).append((key_of(number, row), row))
    jobs: list[PlannedShard] = []
    for split, samples in splits.items():
        random.Random(f"{storage.seed} {split}").shuffle(samples)
        for first in range(0, len(samples), storage.samples):
            name = f"{re.sub(r'[^A-Za-z0-9_-]+', '_', split)[:64]}-{len(jobs):06d}"
            note = out / "journal" / f"{name}.json"
            jobs.append(PlannedShard(out / f"{name}.tar", note, samples[first : first + storage.samples]))
    return jobs
