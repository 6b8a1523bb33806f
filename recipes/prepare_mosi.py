"""CMU-MOSI as a manifest: a video a sample, three sequences of utterance features, a label an utterance.

    python recipes/prepare_mosi.py ../shared/data/mosi data/mosi

SOURCE holds the utterance features of the bc-LSTM authors (github.com/declare-lab/multimodal-deep-learning,
bc-LSTM/data). Utterances are put in the order in which they were spoken, features are standardised by the training
videos, and the validation videos are drawn from the training videos, all utterances of a video on one side.

The text and video features come from networks that were fitted on the labels of all 62 training videos, held-out ones
too: a linear model names 98 % of the utterances of training videos that it has not seen by the text, but 76 % of those
of test videos. A validation split of these videos is therefore blind to over-fitting, unless the features are made as
unreliable as those of new videos. So each text and video vector of the training and validation videos is replaced by
the mean of three that belong to utterances drawn at random, each of which has the same label with a probability such
that the majority of the three is right as often as the published SVM of this modality alone is on new videos. What is
left in the features is their published reliability and nothing else that networks could have learnt by heart; the
labels, their order and the audio features are real. No part of the test split is used, but these two published figures
are of it.

Fifty sequences of labels are soon learnt by heart, too: each copy of a training video is a stretch of it, of random
place and length, and its audio features are mixed half and half with those of other utterances. `--as-is` leaves
everything as it came. The test split is never changed.
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
DRAWS, SHORTEST, VAL_COPIES = 3, 6, 8
LABELS = ("negative", "positive")

Array = NDArray[np.float64]
Video = dict[str, Array]
"""An array for each modality and `label`, a row an utterance."""


def main() -> None:
    parser = argparse.ArgumentParser(description="CMU-MOSI utterance features to a manifest.")
    parser.add_argument("source", type=Path, help="folder with transcripts.csv and text/, audio/, video/")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--val-videos", type=int, default=12, help="of the 62 training videos (default: 12)")
    parser.add_argument("--copies", type=int, default=96, help="of each training video (default: 96)")
    parser.add_argument("--as-is", action="store_true", help="features as they came, no copies")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the draws (default: 0)")
    args = parser.parse_args()

    videos = {split: read_split(args.source, split) for split in ("train", "test")}
    random = np.random.default_rng(args.seed)
    names = sorted(videos["train"])
    held_out = set(random.permutation(names)[: args.val_videos].tolist())
    videos["val"] = {name: videos["train"].pop(name) for name in names if name in held_out}
    standardise(videos)

    rows = []
    for split in ("train", "val", "test"):
        redrawn = () if split == "test" or args.as_is else PUBLISHED
        copies = (args.copies if split == "train" else VAL_COPIES) if redrawn else 1
        for copy in range(copies):
            for name, video in videos[split].items():
                if redrawn:
                    video = video | {m: redraw(videos[split], m, video["label"], random) for m in redrawn}
                if redrawn and split == "train":
                    video = stretch(video | {"audio": mix(videos[split], video["audio"], random)}, random)
                key = f"{name}-{copy}" if copies > 1 else name
                row = {"id": key, "split": split, "label": ";".join(LABELS[int(y)] for y in video["label"])}
                for modality in MODALITIES:
                    row[modality] = f"{modality}/{key}.npy"
                    path = args.out / row[modality]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, video[modality].astype(np.float32))
                rows.append(row)
    with (args.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:  # last: now it is whole
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for split in videos:
        count = sum(len(video["label"]) for video in videos[split].values())
        print(f"{split}: {len(videos[split])} videos, {count} utterances")


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


def standardise(videos: dict[str, dict[str, Video]]) -> None:
    """Mean 0 and variance 1 over the utterances of the training videos; what is constant there is 0."""
    for modality in MODALITIES:
        train = _stack(videos["train"], modality)
        mean, std = train.mean(axis=0), train.std(axis=0)
        for split in videos.values():
            for video in split.values():
                video[modality] = np.where(std > 0, video[modality] - mean, 0) / np.where(std > 0, std, 1)


def redraw(videos: dict[str, Video], modality: str, labels: Array, random: np.random.Generator) -> Array:
    """Vectors as reliable as published for these labels: means of `DRAWS` of the split, mostly of the label."""
    pool, known = _stack(videos, modality), _stack(videos, "label")
    of_label = [np.flatnonzero(known == value) for value in (0, 1)]
    wrong = random.random((DRAWS, len(labels))) >= find_hit(PUBLISHED[modality])
    shown = np.where(wrong, 1 - labels, labels)
    rows = np.where(shown == 1, random.choice(of_label[1], shown.shape), random.choice(of_label[0], shown.shape))
    return pool[rows].mean(axis=0)


def mix(videos: dict[str, Video], audio: Array, random: np.random.Generator) -> Array:
    """Half and half with other utterances of the split, at the same variance."""
    pool = _stack(videos, "audio")
    return (audio + pool[random.integers(len(pool), size=len(audio))]) / np.sqrt(2)


def stretch(video: Video, random: np.random.Generator) -> Video:
    """A stretch of random place and length, of `SHORTEST` utterances or more."""
    count = len(video["label"])
    length = random.integers(min(SHORTEST, count), count, endpoint=True)
    start = random.integers(0, count - length, endpoint=True)
    return {column: values[start : start + length] for column, values in video.items()}


def find_hit(wanted: float) -> float:
    """The probability p of one draw at which the majority of three is right with probability `wanted`, by bisection."""
    low, high = 0.5, 1.0
    for _ in range(50):
        p = (low + high) / 2
        low, high = (low, p) if p**3 + 3 * p**2 * (1 - p) > wanted else (p, high)
    return (low + high) / 2


def _stack(videos: dict[str, Video], column: str) -> Array:
    return np.concatenate([video[column] for video in videos.values()])


if __name__ == "__main__":
    main()
