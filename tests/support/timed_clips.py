"""Clips that tell the time: the shade of each frame and the loudness of the tone say when they were."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from media_clips import add_video, write_clip

FPS, RATE, GROWTH = 10, 8000, 0.25
"""Frames a second; samples a second; by how much the logarithm of the amplitude grows in a second."""
MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 4, "size": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 12, "rate": RATE, "mels": 16, "mean": 0, "std": 1},
}


def write_timed(path: Path, seconds: float, late: float = 0.0, sound: float | None = None) -> Path:
    """A clip of that length, whose sound begins `late` seconds after its pictures and lasts `sound` seconds."""
    images = [np.full((16, 16, 3), 2 * n, np.uint8) for n in range(round(seconds * FPS))]
    heard = seconds - late if sound is None else sound
    return write_clip(path, lambda output: add_video(output, images, rate=FPS), lambda out: add_tone(out, heard, late))


def add_tone(output: Any, seconds: float, late: float = 0.0) -> Callable[[], None]:
    stream = output.add_stream("pcm_s16le", rate=RATE, layout="mono")

    def encode() -> None:
        times = late + np.arange(round(seconds * RATE)) / RATE
        samples = np.round(2**11 * np.exp(GROWTH * times) * np.sin(2 * np.pi * 1000 * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, round(late * RATE), Fraction(1, RATE)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    return encode


def times_of_frames(frames: Tensor) -> list[float]:
    """When each of the frames was shown first."""
    return [round(float(frame.float().mean())) / 2 / FPS for frame in frames]


def begin_of_sound(spectrogram: Tensor, reference: Tensor) -> float:
    """When a spectrogram begins, by the one of the whole sound, which begins at 0; the hop is 10 ms.

    The frames at both ends hear the silence beyond.
    """
    loudness, known = spectrogram.amax(dim=1)[5:-5], reference.amax(dim=1)[5:-5]
    zero = known - 2 * GROWTH * 0.01 * torch.arange(5, 5 + len(known))  # of each frame, as if it were the first
    return float((loudness - zero.mean()).div(2 * GROWTH).sub(0.01 * torch.arange(5, 5 + len(loudness))).mean())


UNEVEN = [*range(9), *(Fraction(270 + n, 30) for n in range(30))]
"""Seconds at which frames begin: one a second for 9 s, then 30 within a second."""


def shades(frames: torch.Tensor) -> list[int]:
    """Which frames they are of those that `grey` made."""
    return [round(float(frame.float().mean()) / 4) for frame in frames]


def grey(count: int) -> list[np.ndarray]:
    return [np.full((32, 32, 3), 4 * n, np.uint8) for n in range(count)]


def milliseconds(seconds: list[Any]) -> list[int]:
    return [round(1000 * second) for second in seconds]


def shown(begins: list[Any], end: float, count: int, begin: float = 0.0) -> list[int]:
    """By the definition, second by second."""
    middles = [begin + (2 * part + 1) * (end - begin) / (2 * count) for part in range(count)]
    return [max(place for place, start in enumerate(begins) if start <= middle + 1e-9) for middle in middles]
