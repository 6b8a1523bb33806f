"""Clips for timing, made on the spot: a panned picture with grain and sound, encoded as clips from the web are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

FPS = 25


@dataclass(frozen=True)
class Kind:
    """A kind of clip.

    Attributes:
        name: of the file, its end saying which container.
        width, height: in pixels.
        seconds: how long.
        video, audio: encoders.
        rate: samples of sound a second, in two channels.
        options: of the video encoder.
    """

    name: str
    width: int
    height: int
    seconds: float
    video: str
    audio: str
    rate: int
    options: tuple[tuple[str, str], ...]


X264 = (("preset", "medium"), ("crf", "23"), ("threads", "2"))
VP9 = (("deadline", "realtime"), ("cpu-used", "8"), ("b", "700k"), ("g", "128"), ("threads", "2"))
KINDS = (
    # x264's own default: a key frame every 250 frames, three B frames with a pyramid between two others.
    Kind("audioset.mp4", 640, 360, 10.0, "libx264", "aac", 44_100, (*X264, ("g", "250"))),
    Kind("short-gop.mp4", 640, 360, 10.0, "libx264", "aac", 44_100, (*X264, ("g", "25"))),
    Kind("small.mp4", 320, 240, 10.0, "libx264", "aac", 44_100, (*X264, ("g", "250"))),
    Kind("long.mp4", 640, 360, 30.0, "libx264", "aac", 44_100, (*X264, ("g", "125"))),
    Kind("vp9.webm", 640, 360, 10.0, "libvpx-vp9", "libopus", 48_000, VP9),
)


def make(folder: Path, kind: Kind, seed: int = 0) -> Path:
    """Write a clip of a kind; every seed is another clip."""
    path = folder / f"{seed}-{kind.name}"
    random = np.random.default_rng(seed)
    frames = round(kind.seconds * FPS)
    with av.open(str(path), "w") as output:
        picture: Any = output.add_stream(kind.video, rate=FPS, options=dict(kind.options))
        picture.width, picture.height, picture.pix_fmt = kind.width, kind.height, "yuv420p"
        sound: Any = output.add_stream(kind.audio, rate=kind.rate, layout="stereo", bit_rate=128_000)
        for image in _pan(kind, frames, random):
            output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(picture.encode(None))
        samples = _music(kind, random)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate = kind.rate
        resampler = av.AudioResampler(sound.codec_context.format, "stereo", kind.rate)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))
    return path


def _pan(kind: Kind, frames: int, random: np.random.Generator) -> Any:
    """A window that moves over clouds of many scales, three discs that cross it, a little grain, cuts now and then."""
    height, width = kind.height, kind.width
    y, x = np.mgrid[:height, :width]
    for first in range(0, frames, 75):  # a cut every three seconds
        ground = _clouds(2 * height, 2 * width, random)
        start, step = random.uniform(0, (height, width)), random.uniform(-2, 2, 2)
        discs = [(random.uniform(0, (height, width)), random.uniform(-3, 3, 2), random.uniform(20, 60)) for _ in "abc"]
        colours = random.uniform(30, 225, (3, 3))
        for time in range(min(75, frames - first)):
            top, left = np.clip(start + time * step, 0, (height, width)).astype(int)
            image = ground[top : top + height, left : left + width].copy()
            for (centre, speed, radius), colour in zip(discs, colours, strict=True):
                middle = centre + time * speed
                image[(y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2] = colour
            image += random.normal(0, 3, (height, width, 1)).astype(np.float32)
            yield image.clip(0, 255).astype(np.uint8)


def _clouds(height: int, width: int, random: np.random.Generator) -> Any:
    total = np.full((height, width, 3), 128, np.float32)
    for cell in (160, 40, 10, 4):
        coarse = random.normal(0, 14, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        total += np.kron(coarse, np.ones((cell, cell, 1), np.float32))[:height, :width]
    return total


def _music(kind: Kind, random: np.random.Generator) -> Any:
    """`[1, 2 * samples]` of 16 bits, channels interleaved: chords that change twice a second, and noise."""
    count = round(kind.seconds * kind.rate)
    time = np.arange(count) / kind.rate
    half = (time * 2).astype(int)
    pitch = random.uniform(80, 1500, (half[-1] + 1, 4))[half]
    chord = np.sin(2 * np.pi * pitch * time[:, None]).sum(axis=1) * 0.1
    stereo = chord[:, None] + random.normal(0, 0.02, (count, 2))
    return (stereo * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16).reshape(1, -1)
