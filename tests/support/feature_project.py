"""Tiny data sets of feature files, and recipes for them: a run takes a second or two."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml

LABELS = ("left", "right", "up")
MODEL = {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1, "dropout": 0.2, "drop_path": 0.2}
SIZES = {"train": 12, "val": 6, "test": 5}


def make_project(folder: Path, task: str = "multiclass", **train: Any) -> Path:
    """Write a manifest, its feature files and a recipe; the recipe's path."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for split, size in SIZES.items():
        for i in range(size):
            label, name = i % 3, f"{split}{i}"
            text = {
                "multiclass": LABELS[label],
                "ordinal": str(label),
                "multilabel": ";".join(sorted({LABELS[label], LABELS[0]})) if i % 2 else LABELS[label],
                "regression": str(label / 2),
            }[task]
            rows.append(
                {
                    "id": name,
                    "split": split,
                    "label": text,
                    "motion": write_features(folder, f"{name}_motion", label, rng, steps=2 + i % 3),
                    "sound": write_features(folder, f"{name}_sound", label, rng) if i % 4 else "",
                }
            )
    write_manifest(folder, rows)
    features = {"kind": "features", "dim": 6, "max_length": 4}
    modalities = {name: {**features, "column": name} for name in ("motion", "sound")}
    settings = {"epochs": 2, "batch_size": 5, "learning_rate": 0.05, "logger": "none", "accelerator": "cpu"}
    recipe = {
        "model": MODEL,
        "data": {"manifest": "clips.csv", "task": task, "modalities": modalities},
        "train": {**settings, **train},
    }
    path = folder / "clips.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def write_features(folder: Path, name: str, label: int, rng: np.random.Generator, steps: int = 4) -> str:
    """A feature file whose mean gives the label away."""
    vectors = rng.normal(size=(steps, 6)).astype(np.float32)
    vectors[:, label] += 3
    np.save(folder / f"{name}.npy", vectors)
    return f"{name}.npy"


def write_manifest(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))
