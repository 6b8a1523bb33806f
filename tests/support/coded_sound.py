"""Recordings of clicks in any codec and container, some of whose packets may be missing or carry other times."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec
import numpy as np
import pytest

from media_clips import pictures

LOUD = 0.4


def clicks(seconds: float, rate: int, times: tuple[float, ...]) -> np.ndarray:
    """A quiet hum and a chirp of 30 ms at each of the times, `[samples]` in [-1, 1]."""
    sound = 0.02 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * rate)) / rate)
    for time in times:
        begin, length = round(time * rate), round(0.03 * rate)
        beat = np.arange(length) / rate
        sound[begin : begin + length] += 0.8 * np.sin(2 * np.pi * (500 * beat + 40000 * beat**2)) * np.hanning(length)
    return sound


def write_coded(
    path: Path,
    sound: np.ndarray,
    rate: int,
    codec: str,
    container: str,
    *,
    times: Callable[[float], float | None] = lambda time: time,
    images: int = 0,
    options: dict[str, str] | None = None,
    bit_rate: int | None = None,
) -> Path:
    """Write `[samples]` or `[channels, samples]`; the test is skipped where PyAV has no encoder for it.

    Args:
        times: when a packet of sound that begins at a second is said to begin; None leaves it out.
        images: pictures beside it, 25 a second.
        options: of the container.
    """
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot encode {codec}")
    sound = np.atleast_2d(sound)
    if codec == "vorbis" and len(sound) == 1:  # FFmpeg's own encodes two channels alone
        sound = np.concatenate([sound, sound])
    layout = "stereo" if len(sound) == 2 else "mono"
    with av.open(f"file:{path}", "w", format=container, options=options or {}) as output:
        pending = _add_pictures(output, images) if images else []
        stream = output.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        size = stream.codec_context.frame_size or 1024
        whole = av.AudioResampler(stream.format.name, layout, rate, frame_size=size)
        for part in (*whole.resample(frame), *whole.resample(None), None):
            for packet in stream.encode(part):
                time = times(float(packet.pts * packet.time_base))
                if time is not None:
                    shift = round((time - float(packet.pts * packet.time_base)) / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    pending.append(packet)
        for packet in sorted(pending, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def _add_pictures(output: Any, count: int) -> list[Any]:
    """Packets of grey pictures, the first of each second white."""
    stream = output.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    packets = []
    for place in range(count):
        image = np.full_like(pictures(1, 32, 32)[0], 255 if place % 25 == 0 else 60)
        packets += stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
    return packets + stream.encode(None)


def heard_at(samples: Any, rate: int) -> list[float]:
    """When something loud begins, in seconds."""
    loud = np.flatnonzero(np.abs(np.asarray(samples)) > LOUD) / rate
    return [float(time) for before, time in zip([-1.0, *loud], loud, strict=False) if time - before > 0.1]
