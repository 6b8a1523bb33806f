"""Audio-visual digits: spoken and handwritten digits in pairs, noise on both so that neither alone is enough.

    python recipes/prepare_digits.py ../shared/data/fsdd data/digits

SOURCE is the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0): 3,000
recordings, 8 kHz, 10 digits x 6 speakers x 50 takes. The images are the 1,797 of scikit-learn's `load_digits` (8 x 8
pixels, 0 to 16), kept in that set's order, in which one writer comes after the other.

Splits: recordings by take, 0 to 4 test (the set's own test split), 5 to 9 validation, the rest training; images by
place, the last 300 test, the 300 before them validation, the rest training. A pair is a recording and an image of the
same digit, both from the same split. Each recording is in one training pair, in one validation pair, or in three test
pairs with different noise and images.

Noise, drawn for each pair: white noise is added to the recording at a signal-to-noise ratio of `--snr` dB, over the
whole recording; normal noise with a standard deviation of `--blur` of the range is added to the image, of which a
random square of `--hole` x `--hole` pixels is blanked before. Recordings are written as 16-bit wav, images as eight
rows of eight numbers.
"""

from __future__ import annotations

import argparse
import csv
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

RATE = 8000
TAKES = {"train": range(10, 50), "val": range(5, 10), "test": range(5)}
IMAGES = {"train": slice(0, -600), "val": slice(-600, -300), "test": slice(-300, None)}
PAIRS = {"train": 1, "val": 1, "test": 3}

Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description="Noisy pairs of spoken and handwritten digits, and their manifest.")
    parser.add_argument("source", type=Path, help="the Free Spoken Digit Dataset, or its folder recordings/")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--snr", type=float, default=-8.0, help="of the recordings, dB (default: -8)")
    parser.add_argument("--blur", type=float, default=0.35, help="noise of the images, in 0 to 1 (default: 0.35)")
    parser.add_argument("--hole", type=int, default=3, help="pixels blanked, along each side (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and noise (default: 0)")
    args = parser.parse_args()

    random = np.random.default_rng(args.seed)
    recordings = find_recordings(args.source)
    digits = load_digits()
    rows = []
    for split, takes in TAKES.items():
        images, classes = digits.images[IMAGES[split]] / 16, digits.target[IMAGES[split]]
        for digit in range(10):
            of_digit = images[classes == digit]
            chosen = [path for (d, _, take), path in recordings.items() if d == digit and take in takes]
            chosen = chosen * PAIRS[split]
            # Every image is used before one is used again.
            order = np.concatenate([random.permutation(len(of_digit)) for _ in range(-(-len(chosen) // len(of_digit)))])
            for number, (path, place) in enumerate(zip(chosen, order, strict=False)):
                key = f"{split}-{digit}-{number:03d}"
                row = {"id": key, "split": split, "label": str(digit)}
                row |= {"speech": f"speech/{key}.wav", "image": f"image/{key}.npy", "recording": path.name}
                write_wav(args.out / row["speech"], add_white_noise(read_wav(path), args.snr, random))
                write_image(args.out / row["image"], spoil(of_digit[place], args.blur, args.hole, random))
                rows.append(row)
    with (args.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:  # last: now it is whole
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for split in TAKES:
        print(f"{split}: {sum(row['split'] == split for row in rows)} pairs")


def find_recordings(source: Path) -> dict[tuple[int, str, int], Path]:
    """(digit, speaker, take) -> file, sorted."""
    folder = source / "recordings" if (source / "recordings").is_dir() else source
    found = {}
    for path in sorted(folder.glob("*_*_*.wav")):
        digit, speaker, take = path.stem.split("_")
        found[int(digit), speaker, int(take)] = path
    if not found:
        raise SystemExit(f"expected recordings such as 0_george_0.wav in {folder}, found none")
    return dict(sorted(found.items()))


def read_wav(path: Path) -> Array:
    """Samples in [-1, 1]."""
    with wave.open(str(path), "rb") as file:
        if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (RATE, 2, 1):
            raise SystemExit(f"{path}: expected {RATE} Hz, 16 bits, mono, got {file.getparams()}")
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768


def write_wav(path: Path, samples: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).round().astype("<i2").tobytes())


def add_white_noise(samples: Array, snr: float, random: np.random.Generator) -> Array:
    """The recording with white noise `snr` dB below its own power, the sum scaled to a peak of 0.9."""
    power = np.mean(samples**2) / 10 ** (snr / 10)
    noisy = samples + random.normal(0, np.sqrt(power), len(samples))
    return noisy * (0.9 / np.abs(noisy).max())


def spoil(image: Array, blur: float, hole: int, random: np.random.Generator) -> Array:
    """An image in 0 to 1 with a square blanked and noise added, moved to mean 0 and variance about 1."""
    image = image.copy()
    top, left = random.integers(0, 8 - hole, size=2, endpoint=True)
    image[top : top + hole, left : left + hole] = 0
    return (image + random.normal(0, blur, image.shape) - 0.3) / 0.5


def write_image(path: Path, image: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, image.astype(np.float32))


if __name__ == "__main__":
    main()
