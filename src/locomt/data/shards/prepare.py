"""Preparing data: a manifest to a folder of shards, read by several processes, resumable wherever it was stopped.

What goes into which shard is settled before the first one is written, from the manifest and a seed alone. A shard is
written beside its place and renamed into it, then a note of what it holds is put into `journal/`; a shard with a note
is done, and all others are written anew. `shards.json` comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from locomt import progress
from locomt.data.config import DataConfig
from locomt.data.dealing import read_rows
from locomt.data.labels import label_list
from locomt.data.manifest import is_shards
from locomt.data.row import Row
from locomt.data.shards.index import INDEX, SAMPLES, VERSION, stored_fields
from locomt.data.shards.plan import PlannedShard, PrepareError, begin, begun_in, lay_out
from locomt.data.shards.samples import reading
from locomt.data.shards.storage import Storage
from locomt.data.shards.tar import sha256
from locomt.data.shards.writer import LONGEST_NAME, write_shard
from locomt.files import replacing, to_json, write_text
from locomt.nn.config import ConfigError
from locomt.tasks import LabelError
from locomt.tasks.class_names import places_of

REPORT = "report.json"
Report = dict[str, Any]


def prepare(
    config: DataConfig,
    out: Path,
    storage: Storage | None = None,
    *,
    workers: int = 0,
    retry: bool = False,
    on_start: Callable[[], object] | None = None,
) -> Report:
    """Turn all samples of a manifest into shards, see `locomt.data.shards`; go on where it was stopped.

    Args:
        config: what to read.
        out: the folder: a new or empty one, or one in which the same was begun.
        storage: how to store it.
        workers: processes; 0 does the work in this one.
        retry: write those shards again of which something could not be read.
        on_start: called once nothing speaks against reading any more, where something is left to read.

    Returns:
        What `report.json` holds: `samples`; `whole`, those that training can use; `failed`, a list of what could not be
        read, of each `row`, `id`, `split`, `modality` (None: the row itself), `file` and `reason`; `missing`, the same
        of the modalities that samples go without because their files lack them and the recipe says so; `reasons` and
        `missing_reasons`, of how many samples each comes; `shards` and `bytes`.

    Raises:
        ValueError: the manifest cannot serve, nothing of it can be read, or the folder holds something else.
        OSError: something cannot be written.
    """
    storage = storage or Storage()
    manifest = Path(config.manifest)
    if is_shards(manifest):
        raise PrepareError(f"{manifest} is of shards already; name the manifest that they were made from")
    if config.decoder != "pyav":
        raise ConfigError(f"data.decoder is {config.decoder!r}, but shards are made by PyAV alone; leave it out here")
    for name in config.modalities:
        if len(name) > LONGEST_NAME:
            raise ConfigError(f"modality {name!r}: expected a name of at most {LONGEST_NAME} characters")
    cut_by_fps = any(source.by_fps for source in config.modalities.values())
    if config.cut is not None and storage.fps is None and cut_by_fps:
        raise ConfigError(
            f"data.{config.cut} takes frames from anywhere in a clip: say by --fps how many a second to store, 0: all"
        )
    rows = read_rows(config)
    if out.resolve() == manifest.resolve() or (manifest.is_dir() and out.resolve().is_relative_to(manifest.resolve())):
        raise PrepareError(f"{out} lies within the folder of clips, where its shards would be taken for a class")
    labels = _labels(config)  # now: a manifest whose labels cannot serve is not decoded first
    with begun_in(out):
        begin(out, config, storage, rows)
        jobs = lay_out(rows, out, storage)
        notes = {job.tar.name: job.read_note(config.modalities) for job in jobs}
        todo = [job for job in jobs if (note := notes[job.tar.name]) is None or (retry and _has_failed(note, config))]
        if todo:
            (out / INDEX).unlink(missing_ok=True)
            if on_start:
                on_start()
            with progress.stage("reading", "samples") as seen:
                seen.begin(len(rows), len(rows) - sum(len(job.rows) for job in todo))
                _write_all(todo, config, storage, workers, seen)
        return _finish(out, config, labels, storage, rows, jobs)


def _has_failed(note: dict[str, Any], config: DataConfig) -> bool:
    return any(
        not config.modalities[name].leaves_out(failure.get("kind", ""))
        for place in note["places"].values()
        if place
        for name, failure in place["failed"].items()
    )


def _write_all(
    jobs: Sequence[PlannedShard], config: DataConfig, storage: Storage, workers: int, seen: progress.Stage
) -> None:
    rows = [row for job in jobs for _, row in job.rows]
    with reading(config, storage, min(workers, len(rows))) as read:
        samples = read(rows)
        for job in jobs:
            job.note.unlink(missing_ok=True)  # of a shard that is written again, before the shard is another
            note = write_shard(job.tar, job.rows, samples, seen.add)
            write_text(job.note, to_json(note) + "\n")


def _finish(
    out: Path,
    config: DataConfig,
    labels: dict[str, int],
    storage: Storage,
    rows: Sequence[Row],
    jobs: Sequence[PlannedShard],
) -> Report:
    """Put together what the notes say: the samples, the report, and last the index."""
    places: dict[str, Any] = {}
    shards = {}
    for job in jobs:
        note = job.read_note(config.modalities)
        if note is None:
            raise PrepareError(f"{job.tar} was removed while its neighbours were written; the same command goes on")
        places |= note["places"]
        shards[job.tar.name] = {"samples": len(job.rows), "bytes": note["bytes"], "sha256": note["sha256"]}
    failed = list(_failures(config, labels, rows, places))
    missing = list(_missing(config, rows, places))
    stored = sum(1 for row in rows if places[row.id] and _is_stored(row, config, places[row.id]))
    if not stored:
        first = f"; the first: {failed[0]['file']}: {failed[0]['reason']}" if failed else ""
        raise PrepareError(f"nothing of {len(rows)} samples could be read{first}")
    report = {
        "samples": len(rows),
        "whole": len(rows) - len({entry["id"] for entry in failed}),
        "failed": failed,
        "reasons": _samples_of_reasons(failed),
        "missing": missing,
        "missing_reasons": _samples_of_reasons(missing),
        "shards": len(jobs),
        "bytes": sum(shard["bytes"] for shard in shards.values()),
    }
    with replacing(out / SAMPLES) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            entry = {"row": row.number, "cells": row.cells, "place": places[row.id]}
            file.write(to_json(entry) + "\n")
    write_text(out / REPORT, to_json(report, indent=1) + "\n")
    index = {
        "version": VERSION,
        "modalities": {name: stored_fields(source) for name, source in config.modalities.items()},
        "storage": asdict(storage),
        "samples": len(rows),
        "sha256": sha256(out / SAMPLES),
        "shards": shards,
    }
    write_text(out / INDEX, to_json(index, indent=1) + "\n")
    return report


def _is_stored(row: Row, config: DataConfig, place: dict[str, Any]) -> bool:
    return any(
        row.cells[source.column].strip() and name not in place["failed"] for name, source in config.modalities.items()
    )


def _labels(config: DataConfig) -> dict[str, int]:
    try:
        return places_of(label_list(config))
    except LabelError:  # the training split has none: each row's label may still be empty
        return {}


def _samples_of_reasons(entries: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Of how many samples each reason comes, the most frequent first; once of a clip without pictures and sound."""
    pairs = dict.fromkeys((entry["id"], entry["reason"]) for entry in entries)
    return dict(Counter(reason for _, reason in pairs).most_common())


def _missing(config: DataConfig, rows: Sequence[Row], places: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The modalities that training leaves out of samples which have others, as the recipe says."""
    for row in rows:
        place = places[row.id]
        if place and _is_stored(row, config, place):
            for name, failure in place["failed"].items():
                if config.modalities[name].leaves_out(failure.get("kind", "")):
                    yield _entry(row, name, failure["file"], failure["reason"])


def _entry(row: Row, modality: str | None, file: str, reason: str) -> dict[str, Any]:
    return {
        "row": row.number, "id": row.id, "split": row.split, "modality": modality, "file": file, "reason": reason
    }  # fmt: skip


def _failures(
    config: DataConfig, labels: dict[str, int], rows: Sequence[Row], places: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """What training will find to be bad: files that could not be read, and rows that are wrong themselves."""
    manifest = Path(config.manifest)
    for row in rows:
        place = places[row.id]
        if place is None:
            yield _entry(row, None, manifest.name, "every modality of the row is empty")
        left = place is not None and _is_stored(row, config, place)
        for name, failure in place["failed"].items() if place else ():
            if not (left and config.modalities[name].leaves_out(failure.get("kind", ""))):
                yield _entry(row, name, failure["file"], failure["reason"])
        try:
            if labels or not config.target.has_classes:
                config.target.parse(row.label, labels)
        except LabelError as error:
            yield _entry(row, None, manifest.name, str(error))
