"""Digits that are heard and shown in time: when is a digit spoken, and is it also shown in the same clip?

A clip of 2.4 s has a track of sound and a track of pictures, with digits from zero to three. Two different digits are
shown, one after the other, for 0.5 to 0.9 s each, at any time. Spoken digits, any of the four, follow each other after
pauses of 0.1 to 0.4 s. Each spoken digit is an event as long as the word: `shown@0.42-0.91` if it is one of the two
that are shown, else `other@0.42-0.91`. Both are equally likely for every digit. So the sound alone says when an event
is, but not which one, and the pictures alone say neither. Nor can the scores of the two be added up: what a picture
means depends on the digit that is heard.

The sound is words in white noise at `snr` dB, as log-mel features: 20 vectors a second, standardised in every clip. The
pictures are 8 x 8 pixels, 10 a second, blank while nothing is shown, with normal noise of a standard deviation of
`blur`. Each vector ends with its place in time, as sines and cosines.

`temporal` uses recordings of the Free Spoken Digit Dataset (up to 0.9 s long) and the handwritten digits of
scikit-learn, divided as for `digits`: no recording and no image is in two splits. `tones` needs neither: its words are
two tones in turn, its digits those of a seven-segment display.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from locomt.data.media.spectrogram import log_mel
from locomt.studies.datasets.data_set import DataSet, Settings, real_data, training, write_manifest
from locomt.studies.datasets.digits import IMAGES, RATE, TAKES, find_recordings, handwritten, read_wav

NAMES = ("other", "shown")
DIGITS, SHOWN = 4, 2

SECONDS, STEP = 2.4, 0.1
FRAMES, PIXELS = 24, 64
VECTORS, MELS, HOP = 48, 24, RATE // 20
WAVES = 6
"""Sines of a vector's place in time. The slowest has a period of two clips, each further one half of the last."""

LOUDNESS = 0.1
"""Root mean square of spoken words."""

SEGMENTS = ("abcdef", "bc", "abged", "abgcd")
"""The segments of a display that are lit for each digit."""

BARS: dict[str, Any] = {"a": np.s_[0, 2:6], "g": np.s_[3, 2:6], "d": np.s_[6, 2:6]}
BARS |= {"f": np.s_[0:4, 2], "b": np.s_[0:4, 5], "e": np.s_[3:7, 2], "c": np.s_[3:7, 5]}
PITCHES = ((420, 420), (1700, 1700), (420, 1700), (1700, 420))
"""Hz: the two tones of each word of data set `tones`."""

Array = NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], Array]
"""Digit, random -> a word, as samples in [-1, 1], or an image `[8, 8]` in 0 to 1."""


def settings(full: bool, snr: float, blur: float) -> dict[str, Any]:
    sizes = {"train": 3000, "val": 200, "test": 500} if full else {"train": 48, "val": 24, "test": 24}
    return {**sizes, "snr": snr, "blur": blur, "seed": 0}


def write(folder: Path, data: Path | None, settings: Settings) -> None:
    recordings = find_recordings(real_data(data, "temporal", "fsdd", "the Free Spoken Digit Dataset"))
    drawn, targets = handwritten()

    def source(split: str) -> tuple[Draw, Draw]:
        words: list[list[Array]] = [[] for _ in range(10)]
        for (digit, _, take), path in recordings.items():
            if take in TAKES[split] and len(samples := read_wav(path)) <= 0.9 * RATE:
                words[digit].append(samples)
        images, classes = drawn[IMAGES[split]], targets[IMAGES[split]]
        return _one_of(words), _one_of([list(images[classes == digit]) for digit in range(10)])

    _write(folder, settings, source)


def write_tones(folder: Path, data: Path | None, settings: Settings) -> None:
    _write(folder, settings, lambda split: (tone_word, display))


def _one_of(items: Sequence[Sequence[Array]]) -> Draw:
    return lambda digit, random: items[digit][int(random.integers(len(items[digit])))]


def _write(folder: Path, settings: Settings, source: Callable[[str], tuple[Draw, Draw]]) -> None:
    for name in ("sound", "pictures"):
        (folder / name).mkdir()
    rows = []
    for split in ("train", "val", "test"):
        random = np.random.default_rng((settings["seed"], *split.encode()))
        say, show = source(split)
        for number in range(settings[split]):
            sound, pictures, events = compose(say, show, random)
            cell = ";".join(f"{name}@{start:.2f}-{end:.2f}" for name, start, end in events) or ";"
            row = {"id": f"{split}-{number:04d}", "split": split, "label": cell}
            row |= {track: f"{track}/{row['id']}.npy" for track in ("sound", "pictures")}
            np.save(folder / row["sound"], hear(sound, settings["snr"], random))
            np.save(folder / row["pictures"], see(pictures, settings["blur"], random))
            rows.append(row)
    write_manifest(folder, rows)


def tone_word(digit: int, random: np.random.Generator) -> Array:
    """Draw two tones in turn that last 0.25 to 0.6 s together, up to 3 % off their pitch."""
    half = int(random.uniform(0.25, 0.6) * RATE / 2)
    phase = 2 * np.pi * np.cumsum(np.repeat(PITCHES[digit], half)) * random.uniform(0.97, 1.03) / RATE
    word: Array = np.sin(phase) + random.uniform(0.1, 0.5) * np.sin(2 * phase)
    return word


def display(digit: int, random: np.random.Generator) -> Array:
    """Draw a digit as on a display, moved by up to a pixel and of varying brightness."""
    image = np.zeros((8, 8))
    for segment in SEGMENTS[digit]:
        image[BARS[segment]] = random.uniform(0.7, 1.0)
    return np.roll(image, random.integers(0, 2, 2), axis=(0, 1))


def compose(say: Draw, show: Draw, random: np.random.Generator) -> tuple[Array, Array, list[tuple[str, float, float]]]:
    """Draw a clip: its samples of sound, its frames `[FRAMES, 8, 8]`, and its events."""
    sound, pictures = np.zeros(round(SECONDS * RATE)), np.zeros((FRAMES, 8, 8))
    shown = random.permutation(DIGITS)[:SHOWN]
    lengths = random.integers(5, 10, SHOWN)
    firsts = np.sort(random.integers(0, FRAMES - lengths.sum() + 1, SHOWN)) + np.cumsum(lengths) - lengths
    for digit, first, length in zip(shown, firsts, lengths, strict=True):
        pictures[first : first + length] = show(int(digit), random)
    events: list[tuple[str, float, float]] = []
    start = random.uniform(0, 0.3)
    while True:
        heard = int(random.integers(DIGITS))
        word = say(heard, random)
        end = start + len(word) / RATE
        if end > SECONDS:
            return sound, pictures, events
        place = round(start * RATE)
        sound[place : place + len(word)] = word * (LOUDNESS / np.sqrt(np.mean(word**2)))
        events.append((NAMES[heard in shown], start, end))
        start = end + random.uniform(0.1, 0.4)


def hear(sound: Array, snr: float, random: np.random.Generator) -> NDArray[np.float16]:
    """Add noise, then compute log-mel features and times: `[VECTORS, MELS + 2 WAVES]`."""
    noisy = sound + random.normal(0, LOUDNESS / 10 ** (snr / 20), len(sound))
    features = log_mel(torch.from_numpy(noisy).float(), rate=RATE, mels=MELS, window=2 * HOP, hop=HOP).numpy()
    return np.hstack([(features - features.mean()) / features.std(), times(VECTORS)]).astype(np.float16)


def see(pictures: Array, blur: float, random: np.random.Generator) -> NDArray[np.float16]:
    """Add noise, then join pixels and times: `[FRAMES, PIXELS + 2 WAVES]`."""
    noisy = pictures + random.normal(0, blur, pictures.shape)
    return np.hstack([(noisy.reshape(FRAMES, PIXELS) - 0.2) / 0.4, times(FRAMES)]).astype(np.float16)


def times(count: int) -> Array:
    """The middles of `count` equal parts of a clip, as sines and cosines `[count, 2 WAVES]`."""
    phase = np.pi * 2.0 ** np.arange(WAVES) * ((np.arange(count) + 0.5) / count)[:, None]
    return 1.5 * np.hstack([np.sin(phase), np.cos(phase)])


def recipe(full: bool) -> dict[str, Any]:
    return {
        "model": {"dim": 32, "heads": 8, "depth": 2, "fusion_layers": 2, "strategy": "spread", "mlp_ratio": 2.0},
        "data": {
            "manifest": "manifest.csv",
            "task": "temporal",
            "labels": list(NAMES),
            "seconds": SECONDS,
            "step": STEP,
            "modalities": {
                "sound": {"kind": "features", "column": "sound", "dim": MELS + 2 * WAVES, "max_length": VECTORS},
                "pictures": {"kind": "features", "column": "pictures", "dim": PIXELS + 2 * WAVES, "max_length": FRAMES},
            },
            "cache": True,
        },
        "train": training(full, epochs=5, batch_size=16),
    }


DATA_SET = DataSet(
    name="temporal",
    about="When digits are spoken, and which of them are shown by hand in the same clip, in noise.",
    settings=lambda full: settings(full, 10.0, 0.15),
    write=write,
    recipe=recipe,
    needs="the Free Spoken Digit Dataset in fsdd/, and scikit-learn",
)
TONES = DataSet(
    name="tones",
    about="When words of two tones sound, and which of them a display shows in the same clip, in noise.",
    settings=lambda full: settings(full, 0.0, 0.3),
    write=write_tones,
    recipe=recipe,
)
