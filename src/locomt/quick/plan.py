"""What is trained, decided before any of it: splits, modalities, task and sizes as a manifest and a recipe."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from locomt.cost import flops, parameters
from locomt.data import DataConfig, MediaError, label_list, probe
from locomt.data.guess import TRIES, guess_modalities
from locomt.data.kinds import KINDS
from locomt.data.manifest_files import ManifestFiles
from locomt.data.overview import manifest_notes
from locomt.data.row import Row
from locomt.data.shards.storage import Storage
from locomt.files import make_directory, write_text
from locomt.nn.config import Architecture
from locomt.quick.sizes import (
    BATCH,
    FAR,
    KEPT,
    Runs,
    Size,
    described,
    epochs_for,
    reading_seconds,
    sizes_for,
    speed,
    training_seconds,
)
from locomt.quick.source import read_source
from locomt.quick.splits import with_splits
from locomt.quick.task import guess_task
from locomt.tasks import TASKS
from locomt.train.config import RecipeError, TrainConfig
from locomt.train.recipe import Recipe
from locomt.train.runs import device_of

MANIFEST = "manifest.csv"
LONGEST_SOUND, STEPS_OF_EVENTS = 10.0, 20
"""Seconds of sound that are heard, and the answers along a clip whose events are asked for."""
REPEATED = 4
"""Samples to a text, on the whole, from which on it is no text of each."""
START = 5.0
"""Seconds besides: the program's own start, the range test, the table and the page."""
FEW = 50
"""Samples to choose by: with fewer the loss tells models apart that have as many right."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained.

    Attributes:
        recipe: of the fused model, or of the only modality. Its manifest is `manifest.csv`, which names the files.
        size: of the model and of what it sees.
        labels: the classes; none where labels are numbers.
        counts: split -> samples.
        seconds: that all of it will take about, reading and scoring too.
        another: that one run more of the recipe would take about.
        doubts: what may be read otherwise than it is meant.
    """

    recipe: Recipe
    size: Size
    labels: tuple[str, ...]
    counts: Mapping[str, int]
    seconds: float
    another: float
    doubts: tuple[str, ...] = ()

    @property
    def storage(self) -> Storage:
        """All frames are stored where they are taken from parts of a clip."""
        return Storage(fps=0.0 if self.recipe.data.cut is not None else None)

    def lines(self, minutes: float) -> list[str]:
        """What is said before training: data, device, model, and how long it will take."""
        recipe, data = self.recipe, self.recipe.data
        config = recipe.fusion_config(self.labels)
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        classes = f"{len(self.labels)} classes" if self.labels else "numbers"
        fits = "" if self.seconds <= 60 * minutes else f"; that is more than {minutes:g} min: the smallest is taken"
        what = "each modality alone and fused" if len(data.modalities) > 1 else "one model"
        seen = ", ".join(f"{name} (column {source.column})" for name, source in data.modalities.items())
        return [
            f"data: {counts} samples of {classes}, task {data.task}; {seen}; splits in "
            f"{os.path.relpath(data.manifest)}",
            f"model: {described(self.size, data.modalities)}; {parameters(config):,} parameters, "
            f"{flops(config).total / 1e9:.3g} GFLOPs a sample, on {device_of(recipe)} in float32",
            f"training: up to {recipe.train.epochs} epochs of {-(-self.counts['train'] // recipe.train.batch_size)} "
            f"batches, {what}; about {_time(self.seconds)} in all{fits}",
            *manifest_notes(data),
        ]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def make_plan(source: Path, out: Path, *, minutes: float, runs: Runs, task: str | None = None, seed: int) -> Plan:
    """Decide what is trained, and write the manifest with its splits to `out`.

    Args:
        source: as `read_source` takes it.
        out: the folder of the manifest; made where it is not there.
        minutes: that training may take. The largest size that keeps to them is taken, or else the smallest.
        runs: how often models are trained.
        task: where the labels' form is not to decide.
        seed: of splits and training.

    Raises:
        ValueError: the source cannot serve.
        OSError: it cannot be read, or `out` not written.
    """
    rows = read_source(source)
    task = task or guess_task(row.label for row in rows)
    if task not in TASKS:
        raise RecipeError(f"task: expected one of {', '.join(TASKS)}, got {task!r}")
    kinds = {row.label for row in rows}
    if TASKS[task].has_classes and not (TASKS[task].several or TASKS[task].in_time) and len(kinds) == 1:
        raise RecipeError(f"{source}: expected two classes or more, got {next(iter(kinds))!r} alone")
    rows = with_splits(rows, task, seed)
    modalities = guess_modalities(source, rows)
    length = _longest(source, rows, modalities)
    write_manifest(source, out, rows, modalities)
    counts = {name: sum(row.split == name for row in rows) for name in ("train", "val", "test")}
    for name, count in counts.items():
        if not count:
            single = len({row.label for row in rows}) == len(rows) > 1 and TASKS[task].has_classes
            why = "no label is there twice" if single else "add samples"
            if strange := sorted({row.split for row in rows} - {"train", "val", "test"}):
                why = f"its column 'split' has {', '.join(map(repr, strange))}; call them train, val and test"
            raise RecipeError(f"{source}: expected samples for split {name!r}, got none of {len(rows)}; {why}")
    pace, chosen = 0.0, None
    for size in reversed(sizes_for(counts["train"])):  # from the smallest
        recipe = _recipe(size, out, task, modalities, length, counts, seed)
        labels = label_list(recipe.data)
        if pace and training_seconds(recipe, labels, counts, pace, runs) > FAR * 60 * minutes:
            break  # a step of it may take minutes
        pace = speed(recipe, labels)
        seconds = START + reading_seconds(recipe, labels, sum(counts.values()))
        seconds += training_seconds(recipe, labels, counts, pace, runs)
        if chosen is not None and seconds > KEPT * 60 * minutes:
            break
        another = training_seconds(recipe, labels, counts, pace, Runs(seeds=0 if len(modalities) > 1 else 1))
        chosen = Plan(recipe=recipe, size=size, labels=tuple(labels), counts=counts, seconds=seconds, another=another)
    assert chosen is not None
    return replace(chosen, doubts=tuple(_doubts(rows, modalities)))


def _doubts(rows: list[Row], modalities: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A text that many samples share may be a name of something, a speaker's or that of the label itself."""
    for column in (fields["column"] for fields in modalities.values() if not KINDS[fields["kind"]].names_file):
        cells = [cell for row in rows if (cell := row.cells[column].strip())]
        if REPEATED * (count := len(set(cells))) <= len(cells):
            yield (
                f"column {column!r} is read as a text, of which {len(cells)} samples have {count} different ones: "
                "remove it if it says the label, and call it 'group' if it says which samples belong together"
            )


def write_manifest(source: Path, out: Path, rows: list[Row], modalities: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write `manifest.csv` into `out`, which names the source's files from there.

    Raises:
        ManifestError: a file lies outside of the source's folder.
    """
    make_directory(out)
    files = {m["column"] for m in modalities.values() if KINDS[m["kind"]].names_file}
    known = ManifestFiles(source)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = list(rows[0].cells)
    writer.writerow(columns)
    for row in rows:
        cells = {
            name: os.path.relpath(known.find(cell), out) if name in files and cell.strip() else cell
            for name, cell in row.cells.items()
        }
        writer.writerow([cells[name] for name in columns])
    write_text(out / MANIFEST, text.getvalue())
    return out / MANIFEST


def _longest(source: Path, rows: list[Row], modalities: Mapping[str, Mapping[str, Any]]) -> float:
    """Seconds of the longest of the first clips, at most `LONGEST_SOUND`."""
    columns = {m["column"] for m in modalities.values() if m["kind"] in ("video", "audio")}
    known, found = ManifestFiles(source), [0.0]
    for column in columns:
        for row in [row for row in rows if row.cells[column].strip()][:TRIES]:
            try:
                found.append(probe(known.find(row.cells[column])).seconds or 0.0)
            except (MediaError, OSError):
                continue  # preparing tells of it
    return min(LONGEST_SOUND, max(0.32, round(max(found), 2)))


def _recipe(
    size: Size,
    out: Path,
    task: str,
    modalities: Mapping[str, Mapping[str, Any]],
    length: float,
    counts: Mapping[str, int],
    seed: int,
) -> Recipe:
    several = len(modalities) > 1
    sources = {}
    for name, guessed in modalities.items():
        kind = guessed["kind"]
        fields = {**guessed, **size.modality(kind)}
        if kind == "audio":
            fields["seconds"] = length
        if several and kind in ("video", "audio"):
            fields["on_no_stream"] = "missing"
        if several and kind == "audio":
            fields["on_silent"] = "missing"
        sources[name] = fields
    epochs = epochs_for(counts["train"])
    timed: dict[str, Any] = {"seconds": length, "step": length / STEPS_OF_EVENTS} if TASKS[task].in_time else {}
    data = DataConfig(
        manifest=os.path.abspath(out / MANIFEST),
        task=task,
        modalities=sources,
        max_bad=0.5,
        cache=counts["train"] < 2000,
        allow_outside=True,
        **timed,
    )
    train = TrainConfig(
        epochs=epochs,
        patience=max(4, epochs // 3),
        batch_size=BATCH if counts["train"] < 500 else 4 * BATCH,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.05,
        warmup_epochs=epochs / 10,
        monitor="loss" if counts["val"] < FEW else None,
        augment=_augment(size, task, modalities, length),
        seed=seed,
        logger="none",
    )
    model = Architecture(**size.model(), fusion="locomt" if several else "selfall", dropout=0.1)
    return Recipe(model=model, data=data, train=train)


def _augment(size: Size, task: str, modalities: Mapping[str, Mapping[str, Any]], length: float) -> dict[str, Any]:
    """Changes that leave what is seen and heard what it is: without them few samples are learned by heart, and the
    fused model learns no more than one modality. Nothing is mirrored: left and right may count."""
    kinds = {guessed["kind"] for guessed in modalities.values()}
    seen: dict[str, Any] = {"scale": 0.2, "color": 0.2} if kinds & {"video", "image"} else {}
    if "audio" not in kinds:
        return seen
    masks = {"time_masks": 1, "time_mask": max(1, round(100 * length / 8)), "frequency_masks": 1}
    heard: dict[str, Any] = {"gain": 6.0, "shift": min(0.05, length / 10), **masks, "frequency_mask": size.mels // 8}
    return {**seen, **heard} if TASKS[task].in_time else {**seen, **heard, "speed": 0.1}


def on_shards(recipe: Recipe, index: Path) -> Recipe:
    """The recipe that reads from shards what this one reads from files."""
    return replace(recipe, data=replace(recipe.data, manifest=os.path.abspath(index), allow_outside=False))
