"""Clips of one speaker of GRID as features: the sound in bands, the lips in pixels; the label is one of the six words.

    python recipes/prepare_grid_s1.py ../shared/data/grid_s1/clips data/grid_s1 --label digit --babble 0

SOURCE holds clips of the GRID corpus (Cooke et al., 2006), `bbaf2n.mp4` or `.mpg`, whose names spell their sentences;
see `prepare_grid.py`. Of every clip there are 75 vectors a modality, one a frame:

- `sound`: 160 numbers, four log-mel spectra of 40 bands, 10 ms apart.
- `lips`: 48 numbers, a box of 60 x 88 pixels around the mouth in means of 4 x 4, less their mean over the clip, as its
  16 principal components over the training clips (Bregler & Konig, ICASSP 1994), with their first and second slopes
  over five frames.

Both are standardised by the training clips. `--babble DB` adds the sound of six other clips of the same split, with a
signal-to-noise ratio over the clip of so many decibels; with `--copies N` every training clip is there N times, with
other babble each time. Clips are split by sentence: 70 % to train, 10 % to validate,
20 % to test.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from prepare_grid import WORDS, spoken_words
from torch import Tensor

from locomt.data.media.spectrogram import log_mel

FRAMES, RATE, MELS = 75, 16_000, 40
BOX = (slice(187, 247), slice(116, 204))  # rows and columns of the frame that the mouth of speaker 1 keeps to
CELL = 4
COMPONENTS = 16
VOICES = 6
SPLITS = {"train": 0.7, "val": 0.1, "test": 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(description="Clips of one GRID speaker to features and a manifest.")
    parser.add_argument("source", type=Path, help="folder with the clips")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--label", choices=tuple(WORDS), default="digit", help="the word to tell (default: digit)")
    parser.add_argument("--babble", type=float, help="add other clips' sound at this signal-to-noise ratio, dB")
    parser.add_argument("--copies", type=int, default=1, help="of every training clip, in other babble (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the splits and the babble (default: 0)")
    args = parser.parse_args()

    clips = sorted(path for path in args.source.iterdir() if path.suffix in (".mp4", ".mpg"))
    if not clips:
        raise SystemExit(f"expected clips such as bbaf2n.mp4 in {args.source}, found none")
    splits = divide(clips, args.seed)
    if args.copies < 1 or (args.copies > 1 and args.babble is None):
        raise SystemExit(f"--copies {args.copies}: expected 1 or more, and more than 1 only with --babble")
    with ProcessPoolExecutor() as processes:
        waves, lips = zip(*processes.map(read, clips), strict=True)
    waves, lips = [torch.from_numpy(wave) for wave in waves], [torch.from_numpy(boxes) for boxes in lips]
    takes = [(i, copy) for copy in range(args.copies) for i, split in enumerate(splits) if not copy or split == "train"]
    sounds = [waves[i] for i, _ in takes]
    if args.babble is not None:
        sounds = [with_babble(waves, splits, i, args.babble, random.Random(f"{args.seed} {i} {n}")) for i, n in takes]
    names = [f"{clips[i].stem}-{copy}" if copy else clips[i].stem for i, copy in takes]
    save(args.out / "sound", names, standardised([bands(sound) for sound in sounds], [splits[i] for i, _ in takes]))
    save(args.out / "lips", [clip.stem for clip in clips], standardised(movements(lips, splits), splits))
    rows = []
    for name, (i, _) in zip(names, takes, strict=True):
        files = {"sound": f"sound/{name}.npy", "lips": f"lips/{clips[i].stem}.npy"}
        rows.append({"id": name, "split": splits[i], "label": spoken_words(clips[i])[args.label], **files})
    with (args.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(", ".join(f"{split}: {splits.count(split)} clips" for split in SPLITS))


def save(folder: Path, names: Sequence[str], values: Sequence[Tensor]) -> None:
    """A file of 16-bit floats for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, features in zip(names, values, strict=True):
        np.save(folder / f"{name}.npy", features.numpy().astype(np.float16))


def divide(clips: Sequence[Path], seed: int) -> list[str]:
    """The split of every clip; takes of one sentence go to one split."""
    sentences = sorted({" ".join(spoken_words(clip).values()) for clip in clips})
    random.Random(seed).shuffle(sentences)
    ends = np.cumsum([round(share * len(sentences)) for share in SPLITS.values()])
    place = {sentence: int(np.searchsorted(ends, n, side="right")) for n, sentence in enumerate(sentences)}
    names = list(SPLITS)
    return [names[min(place[" ".join(spoken_words(clip).values())], 2)] for clip in clips]


def read(clip: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The sound, `[samples]` at 16 kHz, and the mouth's box in grey, `[75, 15, 22]` from 0 to 1."""
    with av.open(str(clip)) as container:
        boxes = [frame.to_ndarray(format="gray")[BOX] for frame in container.decode(video=0)]
    with av.open(str(clip)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        pieces = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    wave = np.concatenate(pieces)[: RATE * FRAMES // 25]
    wave = np.pad(wave, (0, RATE * FRAMES // 25 - len(wave)))
    grey = np.stack((boxes + boxes[-1:] * FRAMES)[:FRAMES]).astype(np.float32) / 255
    rows, columns = grey.shape[1] // CELL, grey.shape[2] // CELL
    return wave, grey.reshape(FRAMES, rows, CELL, columns, CELL).mean(axis=(2, 4))


def with_babble(waves: Sequence[Tensor], splits: Sequence[str], i: int, level: float, draw: random.Random) -> Tensor:
    """A wave with those of six others of its split, at so many decibels."""
    others = [j for j, split in enumerate(splits) if split == splits[i] and j != i]
    noise = torch.stack([waves[j] / waves[j].square().mean().sqrt() for j in draw.sample(others, VOICES)]).sum(0)
    power = waves[i].square().mean() / 10 ** (level / 10)
    return waves[i] + noise * (power / noise.square().mean()).sqrt()


def bands(wave: Tensor) -> Tensor:
    """`[75, 160]`: the log-mel spectra of each frame's four steps of 10 ms."""
    spectrum = log_mel(wave, rate=RATE, mels=MELS, window=400, hop=160)
    return spectrum[: 4 * FRAMES].reshape(FRAMES, 4 * MELS)


def movements(boxes: Sequence[Tensor], splits: Sequence[str]) -> list[Tensor]:
    """`[75, 48]`: what differs from the clip's mean, in principal components, and their first and second slopes."""
    still = [(box - box.mean(0)).flatten(1) for box in boxes]
    known = torch.cat([values for values, split in zip(still, splits, strict=True) if split == "train"])
    components = torch.linalg.eigh(known.T.double() @ known.double()).eigenvectors[:, -COMPONENTS:].float()
    found = []
    for values in still:
        places = values @ components
        found.append(torch.cat([places, slopes(places), slopes(slopes(places))], dim=1))
    return found


def slopes(values: Tensor) -> Tensor:
    """Of a straight line through two frames before and behind each frame; the first and the last stand for more."""
    padded = torch.cat([values[:1], values[:1], values, values[-1:], values[-1:]])
    return (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10


def standardised(values: Sequence[Tensor], splits: Sequence[str]) -> list[Tensor]:
    """Each number less its mean over the training clips, in parts of its standard deviation there."""
    known = torch.cat([value for value, split in zip(values, splits, strict=True) if split == "train"])
    mean, spread = known.mean(0), known.std(0).clamp(min=1e-6)
    return [(value - mean) / spread for value in values]


if __name__ == "__main__":
    main()
