"""CMU-MOSI as a manifest: a video a sample, three sequences of utterance features, a label an utterance.

The data are the utterance features of the bc-LSTM authors (github.com/declare-lab/multimodal-deep-learning,
bc-LSTM/data). Utterances are put in the order in which they were spoken, features are standardised by the training
videos, and the validation videos are drawn from the training videos, all utterances of a video on one side.

The text and video features come from networks that were fitted on the labels of all 62 training videos, held-out ones
too: a linear model names 98 % of the utterances of training videos that it has not seen by the text, but 76 % of those
of test videos. So a validation split of these videos cannot see over-fitting to the features; there is no other.
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
"""An array for each modality and `label`, a row an utterance."""


def settings(full: bool) -> dict[str, Any]:
    return {"val_videos": 12, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    make_mosi(real_data(data, "mosi", "mosi", "the features of CMU-MOSI"), folder, **settings)


def make_mosi(source: Path, out: Path, *, val_videos: int, seed: int) -> dict[str, dict[str, Video]]:
    """Write `manifest.csv` and a folder of feature files for each modality.

    Args:
        source: folder with `transcripts.csv` and `text/`, `audio/`, `video/`.
        out: folder to write.
        val_videos: how many of the 62 training videos validate.
        seed: of which they are.

    Returns:
        The videos of each split.

    Raises:
        DataSetError: the files do not belong together.
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
    write_manifest(out, rows)  # last: now it is whole
    return videos


def read_split(source: Path, split: str) -> dict[str, Video]:
    """Video -> its features and labels in spoken order, what belongs to which utterance checked.

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
    """Mean 0 and variance 1 over the utterances of the training videos; what is constant there is 0."""
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
            "monitor": "loss",
            "accelerator": "cpu",
            "tensorboard": False,
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
