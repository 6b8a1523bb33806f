"""Manifests, labels, view tables and recipes: what users write by hand."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
import yaml

from event_project import make_events
from feature_project import make_project
from fuzz.target import FaultError, Target, check_items, command, one_in
from locomt import FusionModel
from locomt.data import DataConfig, ManifestDataset, label_list
from locomt.data.guess import guess_modalities
from locomt.train.recipe_file import load_recipe
from locomt.views import LayerViews, ViewTable

COLUMNS = ("id", "split", "label", "motion", "title")
ROWS = [
    ("a", "train", "left", "x.npy", "go left"),
    ("b", "train", "right", "y.npy", ""),
    ("c", "val", "left", "", 'go, "left"'),
    ("d", "test", "right", "x.npy", "go\nright"),
]
LABELS: dict[str, list[str]] = {
    "multiclass": ["left", "right", "left", "right"],
    "multilabel": ["left;right", "right", ";", "left"],
    "ordinal": ["1", "-2.5", "1", "3"],
    "regression": ["0.5", "-1e3", "2", "0"],
    "temporal": ["left@0-0.5;right@0.25-1", ";", "left@0.1-0.2", "right@0-1"],
    "steps": ["left;right;left", "left;left;left", "left", "right;right;right"],
}
SOURCES: dict[str, Any] = {
    "motion": {"kind": "features", "column": "motion", "dim": 3, "max_length": 4},
    "title": {"kind": "text", "column": "title", "max_length": 8},
}
KINDS: dict[str, dict[str, Any]] = {
    "multiclass": {},
    "multilabel": {"task": "multilabel"},
    "ordinal": {"task": "ordinal"},
    "regression": {"task": "regression"},
    "temporal": {"task": "temporal", "seconds": 1.0, "step": 0.25},
    "steps": {"steps": ["motion"]},
}
MANIFESTS = ("m.csv", "m.jsonl", "m.ndjson", "m.parquet", "clips")


def make_manifests(folder: Path) -> None:
    """Each task in each format, and folders of classes."""
    for kind, labels in LABELS.items():
        rows = [
            dict(zip(COLUMNS, (*row[:2], label, *row[3:]), strict=True))
            for row, label in zip(ROWS, labels, strict=True)
        ]
        typed = [{**row, "label": _typed(kind, row["label"]), "title": row["title"] or None} for row in rows]
        for name in MANIFESTS[:4]:
            place = folder / f"{kind}_{name.replace('.', '_')}"
            place.mkdir()
            for file in ("x.npy", "y.npy"):
                np.save(place / file, np.ones((3, 3), np.float32))
            if name == "m.csv":
                lines = [
                    ",".join(
                        f'"{cell.replace(chr(34), chr(34) * 2)}"' if "," in cell or "\n" in cell else cell
                        for cell in row.values()
                    )
                    for row in rows
                ]
                (place / name).write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
            elif name == "m.parquet":
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(typed), place / name)
            else:
                (place / name).write_text("".join(json.dumps(row) + "\n" for row in typed))
    for split in ("", "train/", "val/"):
        for group in ("left", "right"):
            for place in ("with_splits", "without") if split else ("without",):
                file = folder / place / "clips" / (split if place == "with_splits" else "") / group / "x.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("go")


def _typed(kind: str, label: str) -> Any:
    """A label as JSON and Parquet may have it."""
    if kind in ("multilabel", "steps"):
        return [name for name in label.split(";") if name]
    return float(label) if kind == "regression" else label


def read_manifests(folder: Path) -> None:
    manifest = next((folder / name for name in MANIFESTS if (folder / name).exists()), folder / "m.csv")
    if manifest.is_dir():
        read_as(DataConfig(manifest=str(manifest), modalities={"title": {**SOURCES["title"], "column": "clip"}}))
        return
    options = KINDS.get(folder.name.partition("_")[0], {})
    config = DataConfig(manifest=str(manifest), modalities=SOURCES, **options)
    if one_in(40, folder):
        recipe = {
            "data": {"manifest": "m", "modalities": SOURCES, **options},
            "model": {"depth": 2, "dim": 16, "heads": 2},
        }
        (folder / "r.yaml").write_text(yaml.safe_dump(recipe))
        command("cost", folder / "r.yaml", "--json", "--data.manifest", manifest)
    if one_in(4, folder):
        guess_modalities(manifest)
    read_as(config)


def read_as(config: DataConfig) -> None:
    """All samples of a manifest, its own labels if it has them."""
    labels = label_list(config)
    for split in ("train", "val", "test"):
        dataset = ManifestDataset(config, split, labels)
        check_items(dataset, range(min(len(dataset), 20)), config)


def make_labels(folder: Path) -> None:
    """A label cell each."""
    cells = {cell for cells in LABELS.values() for cell in cells} | {" left ", "3", "0.1", "left@0-1"}
    for n, cell in enumerate(sorted(cells)):
        (folder / str(n)).mkdir()
        (folder / str(n) / "cell.label").write_text(cell)


def read_labels(folder: Path) -> str | None:
    """The cell is text, and must make a sample or a bad sample for each task."""
    file = folder / "cell.label"
    if not file.is_file():
        return "no cell"
    try:
        cell = file.read_bytes().decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        cell = file.read_bytes().decode("utf-8", "replace")
    reasons = []
    row = {"id": "a", "split": "train", "label": cell, "motion": "x.npy", "title": "go"}
    np.save(folder / "x.npy", np.ones((3, 3), np.float32))
    (folder / "m.jsonl").write_text(json.dumps(row) + "\n")
    for options in KINDS.values():
        config = DataConfig(manifest=str(folder / "m.jsonl"), modalities=SOURCES, **options)
        dataset = ManifestDataset(config, "train", ["left", "right"])
        reasons.append(check_items(dataset, [0], config))
        with suppress(ValueError):
            label_list(config)
    return reasons[0] if all(reasons) else None


NAMES = ("a", "b", "c")
TABLES = (
    "self:6 a~b:6",
    "self:1 a~b:1 a>c:2\nmulti:3 b>a:1",
    "\n".join(["self:2 b~c:1"] * 6),
    "self:1\nself:1\n\nmulti:1",
    "cls:2 a~b:1",
)


def make_views(folder: Path) -> None:
    for n, text in enumerate(TABLES):
        (folder / str(n)).mkdir()
        (folder / str(n) / "table.views").write_text(text)


def read_views(folder: Path) -> None:
    """What can be read says the same when it is written and read again."""
    file = folder / "table.views"
    if not file.is_file():
        return
    text = file.read_bytes().decode("utf-8", "replace")
    table = ViewTable.parse(text, NAMES)
    if ViewTable.parse(str(table), NAMES) != table:
        raise FaultError(f"read again, {table} is another table")
    for layer in table.layers:
        if LayerViews.parse(str(layer), NAMES) != layer:
            raise FaultError(f"read again, {layer} is another layer")
    if table.score_pairs(dict.fromkeys(NAMES, 5)) > 25 * 9 * sum(len(layer.heads) for layer in table.layers):
        raise FaultError("more scores than all with all")


OVERRIDES = ("--model.depth", "3", "--train.epochs=2", "--data.modalities.sound.max_length", "3", "--train.seed", "1")
EXTRAS: dict[str, Any] = {
    "plain": {},
    "rates": {"learning_rates": {"sound": 0.1, "fusion": 0.5}, "frozen": ["motion"], "clip_norm": 1.0},
    "learned": {"views": "learned", "learn_views": {"budget": 0.5}},
    "elastic": {"views": "elastic"},
    "augmented": {"augment": {"mixup": 0.4, "drop_modality": 0.1}},
    "balanced": {"sampling": "balanced", "warmup_epochs": 0.5, "monitor": "f1"},
}


def make_recipes(folder: Path) -> None:
    """Recipes of each task, with the sections that few have, and one of media."""
    for name, train in EXTRAS.items():
        path = make_project(folder / name)
        values = yaml.safe_load(path.read_text())
        values["train"] |= train
        if name == "rates":
            values["model"]["views"] = "self:1 motion~sound:1"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        if name != "plain" and not _loads(path):
            raise FaultError(f"recipe {name} is none")
    make_events(folder / "events", {"train": 3, "val": 2})
    (folder / "media").mkdir()
    media = {
        "model": {"preset": "tiny", "fusion": "locomt", "fusion_layers": 2, "strategy": "ascending", "cross": 0.5},
        "data": {
            "manifest": "clips.csv",
            "labels": "labels.txt",
            "crop": 2.0,
            "clips": 2,
            "split": {"val": 0.25, "test": None, "seed": 3},
            "group": "speaker",
            "modalities": {
                "video": {"kind": "video", "column": "clip", "frames": 8, "size": 224},
                "audio": {"kind": "audio", "column": "clip", "seconds": 8},
                "title": {"kind": "text", "column": "title", "max_length": 128},
            },
        },
        "train": {"epochs": 2, "batch_size": 4, "sampling": "balanced"},
    }
    (folder / "media" / "clips.yaml").write_text(yaml.safe_dump(media, sort_keys=False))
    (folder / "media" / "labels.txt").write_text("a\nb\n")
    (folder / "media" / "clips.csv").write_text("id,split,label,clip,title\n1,train,a,x.mp4,hello\n")
    for place in folder.iterdir():
        for file in place.glob("*.npy"):
            file.unlink()
        (place / "overrides.json").write_text(json.dumps(OVERRIDES[: 5 if place.name != "media" else 0]))


def _loads(path: Path) -> bool:
    try:
        load_recipe(path)
    except ValueError as error:
        print(error)
        return False
    return True


def read_recipes(folder: Path) -> None:
    path = next(folder.glob("*.yaml"), folder / "clips.yaml")
    overrides = read_overrides(folder / "overrides.json")
    recipe = load_recipe(path, overrides)
    config = recipe.fusion_config()
    (folder / "again.yaml").write_text(recipe.to_yaml(folder), encoding="utf-8")
    if load_recipe(folder / "again.yaml").to_dict() != recipe.to_dict():
        raise FaultError("written and read again, it is another recipe")
    with torch.device("meta"):  # a large model is what a user may ask for
        FusionModel(config)
    if one_in(10, folder):
        command("cost", path, "--json", *overrides)


def read_overrides(path: Path) -> list[str]:
    try:
        words = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return []
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


TARGETS = [
    Target("manifests", make_manifests, read_manifests, whole=(".npy",)),
    Target("labels", make_labels, read_labels),
    Target("views", make_views, read_views, named=False),
    Target("recipes", make_recipes, read_recipes),
]
