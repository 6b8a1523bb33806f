"""CMU-MOSI as a manifest. A sample is a video: three sequences of utterance features, and a label for each utterance.

The data are the utterance features of the bc-LSTM authors (github.com/declare-lab/multimodal-deep-learning,
bc-LSTM/data). Utterances are sorted in the order of speech. Features are standardised by the training videos.
Validation videos are drawn from the training videos, whole videos at a time.

The text and video features come from networks that were fitted on the labels of all 62 training videos, those that are
held out here included. A linear model on the text labels 98 % of the utterances in held-out training videos correctly,
but 76 % of those in test videos. So a validation split of these videos cannot show over-fitting to the features; there
is no other.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locomt.studies.datasets.data_set import DataSet, DataSetError, Settings, real_data, write_manifest

MODALITIES = ("text", "audio", "video")
LABELS = ("negative", "positive")

Array = NDArray[np.float64]
Video = dict[str, Array]
"""Modality or `label` -> an array with a row for each utterance."""


def settings(full: bool) -> dict[str, Any]:
    return {"val_videos": 12, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    make_mosi(real_data(data, "mosi", "mosi", "the features of CMU-MOSI"), folder, **settings)


def make_mosi(source: Path, out: Path, *, val_videos: int, seed: int) -> dict[str, dict[str, Video]]:
    """Write `manifest.csv` and a folder of feature files for each modality.

    Args:
        source: folder with `transcripts.csv` and `text/`, `audio/`, `video/`.
        out: folder to write.
        val_videos: how many of the 62 training videos become the validation split.
        seed: for the choice of these videos.

    Returns:
        The videos of each split.

    Raises:
        DataSetError: the files do not match each other.
    """
    videos = {split: read_split(source, split) for split in ("train", "test")}
    random = np.random.default_rng(seed)
    names = sorted(videos["train"])
    held_out = set(random.permutation(names)[:val_videos].tolist())
    videos["val"] = {name: videos["train"].pop(name) for name in names if name in held_out}
    standardise(videos)
    rows = []
    for split in ("train", "val", "test"):
        for name, video in videos[split].items():
            row = {"id": name, "split": split, "label": ";".join(LABELS[int(y)] for y in video["label"])}
            for modality in MODALITIES:
                row[modality] = f"{modality}/{name}.npy"
                path = out / row[modality]
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, video[modality].astype(np.float32))
            rows.append(row)
    write_manifest(out, rows)  # last: a folder with a manifest is complete
    return videos


def read_split(source: Path, split: str) -> dict[str, Video]:
    """Read a split: video -> its features and labels in the order of speech. The files are checked to match.

    The rows of all feature files are in the order of `text_<split>.csv`, whose first column is the row in
    `transcripts.csv`.
    """
    transcripts = _read(source / "transcripts.csv")
    listed = _read(source / f"text_{split}.csv")
    places = [int(row[0]) for row in listed]
    tables = {m: np.array(_read(source / m / f"{m}_{split}0.csv"), dtype=float) for m in MODALITIES}
    labels = np.array([float(transcripts[place][3]) for place in places])
    for modality, table in tables.items():
        if table.shape[0] != len(places) or not np.array_equal(table[:, -1], labels):
            raise DataSetError(f"{split} {modality}: expected the labels of {len(places)} transcripts, got others")
    if not np.allclose(tables["text"][:, :-1], np.array([row[1:] for row in listed], dtype=float)):
        raise DataSetError(f"{split}: text_{split}.csv and text/text_{split}0.csv hold different features")
    rows: dict[str, list[tuple[int, int]]] = {}
    for row, place in enumerate(places):
        video, number = transcripts[place][0].rsplit("_", 1)
        rows.setdefault(video, []).append((int(number), row))
    videos = {}
    for video, numbered in sorted(rows.items()):
        order = [row for _, row in sorted(numbered)]
        videos[video] = {m: table[order, :-1] for m, table in tables.items()} | {"label": labels[order]}
    return videos


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def standardise(videos: dict[str, dict[str, Video]]) -> None:
    """Shift and scale features to mean 0 and variance 1 over the training utterances. Constant features become 0."""
    for modality in MODALITIES:
        train = _stack(videos["train"], modality)
        mean, std = train.mean(axis=0), train.std(axis=0)
        for split in videos.values():
            for video in split.values():
                video[modality] = np.where(std > 0, video[modality] - mean, 0) / np.where(std > 0, std, 1)


def _stack(videos: dict[str, Video], column: str) -> Array:
    return np.concatenate([video[column] for video in videos.values()])


def recipe(full: bool) -> dict[str, Any]:
    widths = {"text": 100, "audio": 73, "video": 100}
    return {
        "model": {"dim": 32, "heads": 4, "depth": 2, "fusion_layers": 2, "dropout": 0.5},
        "data": {
            "manifest": "manifest.csv",
            "labels": list(LABELS),
            "modalities": {
                name: {"kind": "features", "column": name, "dim": dim, "max_length": 64} for name, dim in widths.items()
            },
            "steps": list(MODALITIES),
            "cache": True,
        },
        "train": {
            "epochs": 40 if full else 4,
            "batch_size": 16,
            "optimizer": "adamw",
            "learning_rate": 3e-3,
            "weight_decay": 0.1,
            "warmup_epochs": 4,
            "unimodal_loss": 0.0,
            "monitor": "loss",
            "accelerator": "cpu",
            "logger": "none",
        },
    }


DATA_SET = DataSet(
    name="mosi",
    about="The sentiment of every utterance of a video, from text, audio and video in context.",
    settings=settings,
    write=write,
    recipe=recipe,
    needs="the utterance features of CMU-MOSI in mosi/",
)
