"""Media files made on the spot, each frame and sample of which is known before it is encoded."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec
import numpy as np
import pytest


def pictures(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Moving gradients: no two frames are alike, and codecs find motion to predict."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack([(x * 3 + 5 * t) % 256, (y * 4 + 3 * t) % 256, (x + y + 7 * t) % 256], -1).astype(np.uint8)
        for t in range(count)
    ]


def write_video(
    path: Path,
    images: Sequence[np.ndarray],
    codec: str = "ffv1",
    *,
    pixels: str | None = None,
    rate: int | Fraction = 25,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    container: str | None = None,
    times: Iterable[int] | None = None,
) -> Path:
    """Write frames as a clip; the test is skipped where PyAV has no encoder for it."""
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot encode {codec}")
    with av.open(f"file:{path}", "w", format=container) as output:
        add_video(output, images, codec, pixels=pixels, rate=rate, options=options, rotation=rotation, times=times)()
    return path


def add_video(
    output: Any,
    images: Sequence[np.ndarray],
    codec: str = "ffv1",
    *,
    pixels: str | None = None,
    rate: int | Fraction = 25,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    times: Iterable[int] | None = None,
) -> Callable[[], None]:
    """Add a stream; what is returned encodes its frames, once all streams are added. `times` are in milliseconds."""
    quiet = {"libx265": {"x265-params": "log-level=none:bframes=2:keyint=6"}}.get(codec, {})
    stream = output.add_stream(codec, rate=rate, options={**quiet, **(options or {})})
    stream.height, stream.width = images[0].shape[:2]
    stream.pix_fmt = pixels or {"ffv1": "bgr0", "png": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    if rotation:
        stream.set_display_rotation(rotation)
    given = list(times) if times is not None else None

    def encode() -> None:
        for place, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if given is not None:
                frame.pts, frame.time_base = given[place], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    return encode


def tone(seconds: float, rate: int, hertz: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    """A sine, float64."""
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


SAMPLE_FORMATS = {
    "pcm_u8": ("u8", lambda x: np.round(x * 128 + 128).clip(0, 255).astype(np.uint8)),
    "pcm_s16le": ("s16", lambda x: np.round(x * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)),
    "pcm_s32le": ("s32", lambda x: np.round(x * 2**31).clip(-(2**31), 2**31 - 1).astype(np.int32)),
    "pcm_f32le": ("flt", lambda x: x.astype(np.float32)),
    "pcm_f64le": ("dbl", lambda x: x),
    "flac": ("s16", lambda x: np.round(x * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)),
    "aac": ("fltp", lambda x: x.astype(np.float32)),
    "mp2": ("s16", lambda x: np.round(x * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)),
}


def write_audio(path: Path, channels: np.ndarray, rate: int, codec: str = "pcm_s16le", layout: str = "") -> Path:
    """Write `[channels, samples]` in [-1, 1] as a recording."""
    with av.open(f"file:{path}", "w") as output:
        add_audio(output, channels, rate, codec, layout)()
    return path


def add_audio(
    output: Any, channels: np.ndarray, rate: int, codec: str = "pcm_s16le", layout: str = ""
) -> Callable[[], None]:
    """Add `[channels, samples]` in [-1, 1] as a stream; what is returned encodes it, once all streams are added."""
    layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    form, convert = SAMPLE_FORMATS.get(codec, SAMPLE_FORMATS["pcm_f32le"])
    stream = output.add_stream(codec, rate=rate, layout=layout)
    if codec == "aac":
        stream.bit_rate = 128_000 * len(channels)

    def encode() -> None:
        samples = convert(channels)
        packed = samples if form.endswith("p") else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format=form, layout=layout)
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    return encode


def write_clip(path: Path, *streams: Callable[[Any], Callable[[], None]]) -> Path:
    """Write a clip of several streams, such as `lambda output: add_video(output, images)`."""
    with av.open(f"file:{path}", "w") as output:
        for encode in [add(output) for add in streams]:
            encode()
    return path


def decode_all(path: Path) -> list[np.ndarray]:
    """Every frame `[3, height, width]` of the main video stream, upright, by PyAV's own loop."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.best("video")
        return [
            np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)).transpose(2, 0, 1)
            for frame in container.decode(stream)
        ]
