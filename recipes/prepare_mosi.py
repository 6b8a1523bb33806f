"""CMU-MOSI as a manifest: a video a sample, three sequences of utterance features, a label an utterance.

    python recipes/prepare_mosi.py ../shared/data/mosi data/mosi

SOURCE holds the utterance features of the bc-LSTM authors (github.com/declare-lab/multimodal-deep-learning,
bc-LSTM/data). Utterances are put in the order in which they were spoken, features are standardised by the training
videos, and the validation videos are drawn from the training videos, all utterances of a video on one side.

The text and video features come from networks that were fitted on the labels of all 62 training videos, held-out ones
too: a linear model names 98 % of the utterances of training videos that it has not seen by the text, but 76 % of those
of test videos. A validation split of these videos is therefore blind to over-fitting, unless the features are made as
hard as those of new videos. So each training and validation vector x becomes (x + s z) / sqrt(1 + s^2), where z belongs
to another utterance of the split, picked at random, and s is such that a linear model reaches on the validation videos
what the authors published for a linear model (SVM) of this modality on new ones. That takes no part of the test split,
but it does take these two published figures. `--as-is` leaves the features as they came. The test split is never
changed.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MODALITIES = ("text", "audio", "video")
PUBLISHED = {"text": 0.755, "video": 0.531}
"""Accuracy of the SVM in Poria et al., ACL 2017 (P17-1081); audio features were not fitted on labels."""
LABELS = ("negative", "positive")

Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description="CMU-MOSI utterance features to a manifest.")
    parser.add_argument("source", type=Path, help="folder with transcripts.csv and text/, audio/, video/")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--val-videos", type=int, default=12, help="of the 62 training videos (default: 12)")
    parser.add_argument("--copies", type=int, default=8, help="of each training and validation video (default: 8)")
    parser.add_argument("--as-is", action="store_true", help="features as they came, no noise and no copies")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the noise (default: 0)")
    args = parser.parse_args()

    videos = {split: read_split(args.source, split) for split in ("train", "test")}
    random = np.random.default_rng(args.seed)
    names = sorted(videos["train"])
    held_out = set(random.permutation(names)[: args.val_videos].tolist())
    videos["val"] = {name: videos["train"].pop(name) for name in names if name in held_out}
    standardise(videos)

    scales = dict.fromkeys(MODALITIES, 0.0)
    if not args.as_is:
        scales |= {name: find_scale(videos, name, wanted) for name, wanted in PUBLISHED.items()}
    rows = []
    for split in ("train", "val", "test"):
        noise = scales if split != "test" else {}
        copies = args.copies if split != "test" and not args.as_is else 1
        for copy in range(copies):
            features = {m: add_noise(videos[split], m, noise.get(m, 0.0), random) for m in MODALITIES}
            for name, video in videos[split].items():
                key = f"{name}-{copy}" if copies > 1 else name
                row = {"id": key, "split": split, "label": ";".join(LABELS[int(y)] for y in video["label"])}
                for modality in MODALITIES:
                    row[modality] = f"{modality}/{key}.npy"
                    path = args.out / row[modality]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, features[modality][name].astype(np.float32))
                rows.append(row)
    with (args.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:  # last: now it is whole
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for split in videos:
        count = sum(len(video["label"]) for video in videos[split].values())
        print(f"{split}: {len(videos[split])} videos, {count} utterances")
    print("noise: " + ", ".join(f"{name} {scale:.2f}" for name, scale in scales.items()))


def read_split(source: Path, split: str) -> dict[str, dict[str, Array]]:
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
            raise SystemExit(f"{split} {modality}: expected the labels of {len(places)} transcripts, got others")
    if not np.allclose(tables["text"][:, :-1], np.array([row[1:] for row in listed], dtype=float)):
        raise SystemExit(f"{split}: text_{split}.csv and text/text_{split}0.csv hold different features")
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


def standardise(videos: dict[str, dict[str, dict[str, Array]]]) -> None:
    """Mean 0 and variance 1 over the utterances of the training videos; what is constant there is 0."""
    for modality in MODALITIES:
        train = _stack(videos["train"], modality)
        mean, std = train.mean(axis=0), train.std(axis=0)
        for split in videos.values():
            for video in split.values():
                video[modality] = np.where(std > 0, video[modality] - mean, 0) / np.where(std > 0, std, 1)


def add_noise(
    videos: dict[str, dict[str, Array]], modality: str, scale: float, random: np.random.Generator
) -> dict[str, Array]:
    """(x + s z) / sqrt(1 + s^2), z out of the same split: noise with the features' own covariance."""
    pool = _stack(videos, modality)
    noisy = {}
    for name, video in videos.items():
        other = pool[random.integers(len(pool), size=len(video[modality]))]
        noisy[name] = (video[modality] + scale * other) / np.sqrt(1 + scale**2)
    return noisy


def find_scale(videos: dict[str, dict[str, dict[str, Array]]], modality: str, wanted: float) -> float:
    """The s at which a linear model is as good on the validation videos as `wanted`, by bisection."""
    low, high = 0.0, 16.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if linear_accuracy(videos, modality, middle) > wanted else (low, middle)
    return (low + high) / 2


def linear_accuracy(videos: dict[str, dict[str, dict[str, Array]]], modality: str, scale: float) -> float:
    """Validation accuracy of ridge regression on -1 and 1, over 8 draws of the noise."""
    random = np.random.default_rng(0)
    data = {}
    for split in ("train", "val"):
        draws = [add_noise(videos[split], modality, scale, random) for _ in range(8)]
        x = np.concatenate([np.concatenate(list(draw.values())) for draw in draws])
        data[split] = np.c_[x, np.ones(len(x))], np.tile(_stack(videos[split], "label"), len(draws))
    x, y = data["train"]
    weight = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ (2 * y - 1))
    x, y = data["val"]
    return float(((x @ weight > 0) == (y > 0)).mean())


def _stack(videos: dict[str, dict[str, Array]], column: str) -> Array:
    return np.concatenate([video[column] for video in videos.values()])


if __name__ == "__main__":
    main()
