"""A tiny data set of events: features in which each class has a number of its own, on while it happens."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from feature_project import write_manifest

EVENTS = ("knock", "bell")
SECONDS = 2.0
LONGEST = {"fine": 20, "coarse": 10}
"""Vectors of the whole span: 10 and 5 a second. Of `knock` the fine ones know, of `bell` the coarse ones."""


def make_events(folder: Path, sizes: dict[str, int], **train: Any) -> Path:
    """Write a manifest, its feature files and a recipe; the recipe's path. Every fourth sample ends after 1.2 s."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for split, size in sizes.items():
        for i in range(size):
            end = 1.2 if i % 4 == 3 else SECONDS
            row = {"id": f"{split}{i}", "split": split, "title": "doors" if i % 2 else ""}
            cells = []
            for name, (modality, longest) in zip(EVENTS, LONGEST.items(), strict=True):
                start = rng.integers(0, 5) / 5
                stop = min(end, start + rng.integers(2, 5) / 5)
                times = (np.arange(longest) + 0.5) / longest * SECONDS
                vectors = rng.normal(size=(longest, 4), scale=0.3)
                vectors[(times > start) & (times < stop), 0] += 2
                np.save(folder / f"{row['id']}_{modality}.npy", vectors[times < end].astype(np.float32))
                row[modality] = f"{row['id']}_{modality}.npy"
                cells.append(f"{name}@{start:g}-{stop:g}")
            rows.append({**row, "label": ";".join(cells)})
    write_manifest(folder, rows)
    modalities = {n: {"kind": "features", "column": n, "dim": 4, "max_length": most} for n, most in LONGEST.items()}
    title = {"kind": "text", "column": "title", "max_length": 6}
    settings = {"batch_size": 8, "optimizer": "adamw", "learning_rate": 0.01, "logger": "none"}
    recipe = {
        "model": {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1},
        "data": {
            "manifest": "clips.csv",
            "task": "temporal",
            "seconds": SECONDS,
            "step": 0.1,
            "modalities": {**modalities, "title": title},
        },
        "train": {**settings, "accelerator": "cpu", **train},
    }
    path = folder / "events.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
