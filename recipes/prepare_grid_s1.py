"""Clips of one speaker of GRID as features: the sound in bands, the lips in pixels; the label is one of the six words.

    python recipes/prepare_grid_s1.py ../shared/data/grid_s1/clips data/grid_s1 --label digit --babble 0

SOURCE holds clips of the GRID corpus (Cooke et al., 2006), `bbaf2n.mp4` or `.mpg`, whose names spell their sentences;
see `prepare_grid.py`. Of every clip there are 75 vectors a modality, one a frame:

- `sound`: 160 numbers, four log-mel spectra of 40 bands, 10 ms apart.
- `lips`: 660 numbers, a box of 60 x 88 pixels around the mouth in means of 4 x 4, less their mean over the clip, and
  what changes from frame to frame.

Both are standardised by the training clips. `--babble DB` adds the sound of six other clips of the same split, with a
signal-to-noise ratio over the clip of so many decibels. Clips are split by sentence: 70 % to train, 10 % to validate,
20 % to test.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import torch
from prepare_grid import WORDS, spoken_words
from torch import Tensor

from locomt.data.media.spectrogram import log_mel

FRAMES, RATE, MELS = 75, 16_000, 40
BOX = (slice(187, 247), slice(116, 204))  # rows and columns of the frame that the mouth of speaker 1 keeps to
VOICES = 6
SPLITS = {"train": 0.7, "val": 0.1, "test": 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(description="Clips of one GRID speaker to features and a manifest.")
    parser.add_argument("source", type=Path, help="folder with the clips")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--label", choices=tuple(WORDS), default="digit", help="the word to tell (default: digit)")
    parser.add_argument("--babble", type=float, help="add other clips' sound at this signal-to-noise ratio, dB")
    parser.add_argument("--seed", type=int, default=0, help="of the splits and the babble (default: 0)")
    args = parser.parse_args()

    clips = sorted(path for path in args.source.iterdir() if path.suffix in (".mp4", ".mpg"))
    if not clips:
        raise SystemExit(f"expected clips such as bbaf2n.mp4 in {args.source}, found none")
    splits = divide(clips, args.seed)
    waves, lips = zip(*(read(clip) for clip in clips), strict=True)
    if args.babble is not None:
        waves = add_babble(waves, splits, args.babble, args.seed)
    parts = {"sound": [bands(wave) for wave in waves], "lips": [movements(boxes) for boxes in lips]}
    rows = []
    for name, values in parts.items():
        (args.out / name).mkdir(parents=True, exist_ok=True)
        for clip, features in zip(clips, standardised(values, splits), strict=True):
            np.save(args.out / name / f"{clip.stem}.npy", features.numpy().astype(np.float16))
    for clip, split in zip(clips, splits, strict=True):
        files = {name: f"{name}/{clip.stem}.npy" for name in parts}
        rows.append({"id": clip.stem, "split": split, "label": spoken_words(clip)[args.label], **files})
    with (args.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(", ".join(f"{split}: {splits.count(split)} clips" for split in SPLITS))


def divide(clips: Sequence[Path], seed: int) -> list[str]:
    """The split of every clip; takes of one sentence go to one split."""
    sentences = sorted({" ".join(spoken_words(clip).values()) for clip in clips})
    random.Random(seed).shuffle(sentences)
    ends = np.cumsum([round(share * len(sentences)) for share in SPLITS.values()])
    place = {sentence: int(np.searchsorted(ends, n, side="right")) for n, sentence in enumerate(sentences)}
    names = list(SPLITS)
    return [names[min(place[" ".join(spoken_words(clip).values())], 2)] for clip in clips]


def read(clip: Path) -> tuple[Tensor, Tensor]:
    """The sound, `[samples]` at 16 kHz, and the mouth's box in grey, `[75, 15, 22]` from 0 to 1."""
    with av.open(str(clip)) as container:
        boxes = [frame.to_ndarray(format="gray")[BOX] for frame in container.decode(video=0)]
    with av.open(str(clip)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        pieces = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    wave = torch.from_numpy(np.concatenate(pieces))[: RATE * FRAMES // 25]
    wave = torch.nn.functional.pad(wave, (0, RATE * FRAMES // 25 - len(wave)))
    grey = torch.from_numpy(np.stack((boxes + boxes[-1:] * FRAMES)[:FRAMES])).float() / 255
    return wave, torch.nn.functional.avg_pool2d(grey[:, None], 4)[:, 0]


def add_babble(waves: Sequence[Tensor], splits: Sequence[str], level: float, seed: int) -> list[Tensor]:
    """Each wave with those of six others of its split, at so many decibels."""
    draw, found = random.Random(f"{seed} babble"), []
    for i, wave in enumerate(waves):
        others = [j for j, split in enumerate(splits) if split == splits[i] and j != i]
        noise = torch.stack([waves[j] / waves[j].square().mean().sqrt() for j in draw.sample(others, VOICES)]).sum(0)
        power = wave.square().mean() / 10 ** (level / 10)
        found.append(wave + noise * (power / noise.square().mean()).sqrt())
    return found


def bands(wave: Tensor) -> Tensor:
    """`[75, 160]`: the log-mel spectra of each frame's four steps of 10 ms."""
    spectrum = log_mel(wave, rate=RATE, mels=MELS, window=400, hop=160)
    return spectrum[: 4 * FRAMES].reshape(FRAMES, 4 * MELS)


def movements(boxes: Tensor) -> Tensor:
    """`[75, 660]`: what differs from the clip's mean, and from the frame before."""
    still = (boxes - boxes.mean(0)).flatten(1)
    return torch.cat([still, still.diff(dim=0, prepend=still[:1])], dim=1)


def standardised(values: Sequence[Tensor], splits: Sequence[str]) -> list[Tensor]:
    """Each number less its mean over the training clips, in parts of its standard deviation there."""
    known = torch.cat([value for value, split in zip(values, splits, strict=True) if split == "train"])
    mean, spread = known.mean(0), known.std(0).clamp(min=1e-6)
    return [(value - mean) / spread for value in values]


if __name__ == "__main__":
    main()
