"""Audio-visual digits: pairs of a spoken and a handwritten digit, both so noisy that neither alone is enough.

The recordings are those of the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA
4.0): 3,000, 8 kHz, 10 digits x 6 speakers x 50 takes. The images are the 1,797 of scikit-learn's `load_digits` (8 x 8
pixels, 0 to 16). Their order is kept, in which one writer comes after the other.

Splits: recordings by take, 0 to 4 test (the set's own test split), 5 to 9 validation, the rest training; images by
place, the last 300 test, the 300 before them validation, the rest training. A pair is a recording and an image of the
same digit, both from the same split. Each recording is in one training pair, in one validation pair, or in three test
pairs with different noise and images.

Noise is drawn for each pair. The whole recording gets white noise at a signal-to-noise ratio of `snr` dB. A random
square of `hole` x `hole` pixels of the image is blanked; then the image gets normal noise, whose standard deviation is
`blur` of the range. Recordings are written as 16-bit wav, images as eight rows of eight numbers.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locomt.studies.datasets.data_set import DataSet, DataSetError, Settings, real_data, training, write_manifest

RATE = 8000
TAKES = {"train": range(10, 50), "val": range(5, 10), "test": range(5)}
IMAGES = {"train": slice(0, -600), "val": slice(-600, -300), "test": slice(-300, None)}
PAIRS = {"train": 1, "val": 1, "test": 3}

Array = NDArray[np.float64]


def settings(full: bool) -> dict[str, Any]:
    return {"every": 1 if full else 10, "snr": -8.0, "blur": 0.35, "hole": 3, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    make_digits(real_data(data, "digits", "fsdd", "the Free Spoken Digit Dataset"), folder, **settings)


def make_digits(
    source: Path, out: Path, *, snr: float, blur: float, hole: int, seed: int, every: int = 1
) -> list[dict[str, str]]:
    """Write `manifest.csv`, `speech/` and `image/`.

    Args:
        source: the Free Spoken Digit Dataset, or its folder `recordings/`.
        out: folder to write.
        snr: signal-to-noise ratio of the recordings, dB.
        blur: standard deviation of the images' noise, as a share of the range.
        hole: side of the blanked square, pixels.
        seed: for pairs and noise.
        every: use one of every so many recordings.

    Returns:
        The rows of the manifest.

    Raises:
        DataSetError: there are no recordings, or scikit-learn is not installed.
    """
    random = np.random.default_rng(seed)
    recordings = find_recordings(source)
    drawn, targets = handwritten()
    rows = []
    for split, takes in TAKES.items():
        images, classes = drawn[IMAGES[split]], targets[IMAGES[split]]
        for digit in range(10):
            of_digit = images[classes == digit]
            chosen = [path for (d, _, take), path in recordings.items() if d == digit and take in takes][::every]
            chosen = chosen * PAIRS[split]
            # Every image is used before one is used again.
            order = np.concatenate([random.permutation(len(of_digit)) for _ in range(-(-len(chosen) // len(of_digit)))])
            for number, (path, place) in enumerate(zip(chosen, order, strict=False)):
                key = f"{split}-{digit}-{number:03d}"
                row = {"id": key, "split": split, "label": str(digit)}
                row |= {"speech": f"speech/{key}.wav", "image": f"image/{key}.npy", "recording": path.name}
                write_wav(out / row["speech"], add_white_noise(read_wav(path), snr, random))
                write_image(out / row["image"], spoil(of_digit[place], blur, hole, random))
                rows.append(row)
    write_manifest(out, rows)  # last: a folder with a manifest is complete
    return rows


def handwritten() -> tuple[Array, NDArray[np.int64]]:
    """scikit-learn's images `[n, 8, 8]` in 0 to 1, in the order of the set, and their digits."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataSetError("the handwritten digits come with scikit-learn: pip install scikit-learn") from None
    digits = load_digits()
    return digits.images / 16, digits.target


def find_recordings(source: Path) -> dict[tuple[int, str, int], Path]:
    """(digit, speaker, take) -> its recording, sorted."""
    folder = source / "recordings" if (source / "recordings").is_dir() else source
    found = {}
    for path in sorted(folder.glob("*_*_*.wav")):
        digit, speaker, take = path.stem.split("_")
        found[int(digit), speaker, int(take)] = path
    if not found:
        raise DataSetError(f"expected recordings such as 0_george_0.wav in {folder}, found none")
    return dict(sorted(found.items()))


def read_wav(path: Path) -> Array:
    """Read samples in [-1, 1]."""
    with wave.open(str(path), "rb") as file:
        if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (RATE, 2, 1):
            raise DataSetError(f"{path}: expected {RATE} Hz, 16 bits, mono, got {file.getparams()}")
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768


def write_wav(path: Path, samples: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).round().astype("<i2").tobytes())


def add_white_noise(samples: Array, snr: float, random: np.random.Generator) -> Array:
    """Add white noise `snr` dB below the power of the recording. The sum is scaled to a peak of 0.9."""
    power = np.mean(samples**2) / 10 ** (snr / 10)
    noisy = samples + random.normal(0, np.sqrt(power), len(samples))
    return noisy * float(0.9 / np.abs(noisy).max())


def spoil(image: Array, blur: float, hole: int, random: np.random.Generator) -> Array:
    """Blank a square of an image in 0 to 1, add noise, and shift and scale to mean 0 and variance about 1."""
    image = image.copy()
    top, left = random.integers(0, 8 - hole, size=2, endpoint=True)
    image[top : top + hole, left : left + hole] = 0
    noisy: Array = image + random.normal(0, blur, image.shape)
    return (noisy - 0.3) / 0.5


def write_image(path: Path, image: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, image.astype(np.float32))


def recipe(full: bool) -> dict[str, Any]:
    return {
        "model": {"dim": 32, "heads": 4, "depth": 2, "fusion_layers": 2, "dropout": 0.1},
        "data": {
            "manifest": "manifest.csv",
            "labels": [str(digit) for digit in range(10)],
            "modalities": {
                "speech": {"kind": "audio", "column": "speech", "seconds": 0.64, "rate": RATE, "mels": 32, "patch": 8}
                | {"mean": 2.3, "std": 0.96},
                "image": {"kind": "features", "column": "image", "dim": 8, "max_length": 8},
            },
            "cache": True,
        },
        "train": training(full, epochs=12, batch_size=64) | {"learning_rate": 1e-2, "warmup_epochs": 1},
    }


DATA_SET = DataSet(
    name="digits",
    about="Which digit is spoken and shown, both too noisy to be read alone.",
    settings=settings,
    write=write,
    recipe=recipe,
    needs="the Free Spoken Digit Dataset in fsdd/, and scikit-learn",
)
