"""A data set of small encoded clips whose label can only be told from what is seen and heard together.

A coloured shape drifts over a noisy ground, past a grey distractor, while one of four tone patterns sounds. What
counts is the colour (`seen`, 0 to 3) and the tone pattern (`heard`, 0 to 3); the label is `SQUARE[seen][heard]`, a
Latin square. Every colour goes with every label equally often, and so does every tone pattern: one modality alone says
nothing about the label, and no model beats chance on it. Nor do the two suffice where they do not meet: see
`ADDITIVE_LIMIT`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import av.codec
import numpy as np
from numpy.typing import NDArray

from locomt.files import make_directory
from locomt.progress import stage

COLOURS = {"red": (225, 60, 50), "green": (50, 185, 80), "blue": (60, 95, 230), "yellow": (225, 205, 60)}
TONES = {"low": (420, 420), "high": (1700, 1700), "rising": (420, 1700), "falling": (1700, 420)}  # Hz, start and end
LABELS = ("north", "east", "south", "west")
SQUARE = tuple(tuple(seen ^ heard for heard in range(4)) for seen in range(4))
"""The label of (seen, heard): the addition table of two bits, four times exclusive or."""

ADDITIVE_LIMIT = Fraction(11, 16)
"""The best accuracy of adding up a score for what is seen and one for what is heard, as a model does that
mixes its modalities nowhere but in the average of the [CLS] outputs. Found by integer programming."""

VIDEO_ENCODERS = ("libx264", "libopenh264", "mpeg4")
AUDIO_ENCODERS = ("aac", "libmp3lame", "mp2")
OPTIONS = {"libx264": {"preset": "ultrafast", "crf": "20", "threads": "1"}, "mpeg4": {"threads": "1", "q": "2"}}

Image = NDArray[np.float32]


class ClipsError(ValueError):
    """Clips that cannot be made: says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """What to make.

    Attributes:
        train, val, test: clips of each split, multiples of 16 so that all combinations occur equally often.
        size: width and height in pixels, a multiple of 16.
        frames: of each clip.
        seconds: its length.
        rate: samples of sound a second.
        seed: of everything that is drawn; each clip has a generator of its own.
    """

    train: int = 640
    val: int = 160
    test: int = 320
    size: int = 48
    frames: int = 12
    seconds: float = 1.0
    rate: int = 16_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "val", "test"):
            count = getattr(self, name)
            if count < 16 or count % 16:
                raise ClipsError(f"{name}: expected a multiple of 16 (4 colours x 4 tone patterns), got {count}")
        if self.size < 16 or self.size % 16:
            raise ClipsError(f"size: expected a multiple of 16 pixels, got {self.size}")
        if self.frames < 2 or self.seconds <= 0:
            raise ClipsError(f"expected 2 frames or more and above 0 s, got {self.frames} and {self.seconds} s")
        if self.seed < 0:
            raise ClipsError(f"seed: expected 0 or more, got {self.seed}")


def make_clips(folder: Path, clips: Clips) -> Path:
    """Make the clips and their manifest, or find them made already.

    The folder appears once it is whole. It holds `manifest.csv` (id, split, label, clip, and what is seen and heard,
    which models are not shown), `clips.json` (the settings and the encoders used) and the clips.

    Returns:
        The manifest.

    Raises:
        ClipsError: PyAV has no encoder that serves, or the folder holds something else or other clips.
    """
    wanted = asdict(clips) | {"video": _encoder(VIDEO_ENCODERS), "audio": _encoder(AUDIO_ENCODERS)}
    found = _made_before(folder)
    if found == wanted:
        return folder / "manifest.csv"
    if found is not None:
        name = next(name for name in wanted if found.get(name) != wanted[name])
        raise ClipsError(
            f"{folder} holds clips made with {name} {found.get(name)!r}, not {wanted[name]!r}; name another folder or "
            "remove this one"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ClipsError(f"{folder} holds something else than clips made here; name another folder or remove it")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    make_directory(folder.parent)
    temporary.mkdir()
    try:
        rows = [row for split in ("train", "val", "test") for row in _plan(clips, split)]

        def make(number: int) -> None:
            row = rows[number]
            random = np.random.default_rng((clips.seed, number))
            frames = draw_frames(clips, COLOURS[row["seen"]], random)
            sound = draw_sound(clips, TONES[row["heard"]], random)
            encode_clip(temporary / row["clip"], frames, sound, clips, wanted["video"], wanted["audio"])

        with (
            stage("making clips", "clips", len(rows)) as seen,
            ThreadPoolExecutor(os.cpu_count()) as pool,  # drawing and encoding release the interpreter's lock
        ):
            for _ in pool.map(make, range(len(rows))):
                seen.add()
        with (temporary / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        (temporary / "clips.json").write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder / "manifest.csv"


def _made_before(folder: Path) -> Any:
    try:
        return json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _encoder(names: tuple[str, ...]) -> str:
    """The first that this build of FFmpeg has."""
    for name in names:
        try:
            return av.codec.Codec(name, "w").name
        except av.codec.codec.UnknownCodecError:
            continue
    raise ClipsError(f"PyAV has none of the encoders {', '.join(names)}; install a PyAV wheel, which brings them")


def _plan(clips: Clips, split: str) -> list[dict[str, str]]:
    """The rows of a split: every combination equally often, in a shuffled order."""
    cells = list(product(range(4), range(4))) * (getattr(clips, split) // 16)
    order = np.random.default_rng((clips.seed, 1 << 20, *split.encode())).permutation(len(cells))
    rows = []
    for number, (seen, heard) in enumerate(cells[place] for place in order):
        name = f"{split}-{number:04d}"
        row = {"id": name, "split": split, "label": LABELS[SQUARE[seen][heard]], "clip": f"{name}.mp4"}
        rows.append(row | {"seen": list(COLOURS)[seen], "heard": list(TONES)[heard]})
    return rows


def draw_frames(clips: Clips, colour: tuple[int, int, int], random: np.random.Generator) -> NDArray[np.uint8]:
    """`[frames, size, size, 3]`: a shape of the colour, a grey distractor and noise."""
    size, frames = clips.size, clips.frames
    ground = random.uniform(40, 190)
    images = np.full((frames, size, size, 3), ground, dtype=np.float32)
    images += random.normal(0, 12, images.shape).astype(np.float32)
    _paint(images, np.full(3, random.uniform(0, 255)), random)
    _paint(images, np.array(colour) * random.uniform(0.7, 1.0) + random.normal(0, 8, 3), random)
    return images.clip(0, 255).astype(np.uint8)


def _paint(images: Image, colour: NDArray[np.float64], random: np.random.Generator) -> None:
    """A disc, a square or a ring that crosses the picture in a straight line and stays inside."""
    frames, size = images.shape[:2]
    radius = random.uniform(0.12, 0.2) * size
    start, end = random.uniform(radius, size - radius, (2, 2))
    shape = random.integers(3)
    grid = np.arange(size) + 0.5
    for image, share in zip(images, np.linspace(0, 1, frames), strict=True):
        x, y = start + share * (end - start)
        dx, dy = np.abs(grid - x), np.abs(grid - y)[:, None]
        distance = np.maximum(dx, dy) if shape == 0 else np.hypot(dx, dy)
        inside = (distance < radius) & (distance > radius * 0.4 * (shape == 2))
        image[inside] = colour


def draw_sound(clips: Clips, tone: tuple[float, float], random: np.random.Generator) -> NDArray[np.float32]:
    """`[samples]` in [-1, 1]: a tone that glides from one pitch to the other, in noise."""
    count = round(clips.seconds * clips.rate)
    pitch = np.geomspace(*tone, count) * random.uniform(0.9, 1.1)
    phase = random.uniform(0, 2 * np.pi) + np.cumsum(2 * np.pi * pitch / clips.rate)
    overtone = random.uniform(0.1, 0.5) * np.sin(2 * phase)
    sound = random.uniform(0.15, 0.5) * (np.sin(phase) + overtone) + random.normal(0, 0.05, count)
    return sound.clip(-1, 1).astype(np.float32)


def encode_clip(
    path: Path, frames: NDArray[np.uint8], sound: NDArray[np.float32], clips: Clips, video: str, audio: str
) -> None:
    """Write frames and mono sound into an mp4 file."""
    with av.open(str(path), "w", format="mp4") as output:
        pace = Fraction(clips.frames / clips.seconds).limit_denominator(1000)
        picture: Any = output.add_stream(video, rate=pace, options=OPTIONS.get(video))
        picture.width = picture.height = clips.size
        picture.pix_fmt = "yuv420p"
        speech: Any = output.add_stream(audio, rate=clips.rate, layout="mono", bit_rate=64_000)
        for image in frames:
            output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = clips.rate
        output.mux(speech.encode(frame))
        output.mux(speech.encode(None))
