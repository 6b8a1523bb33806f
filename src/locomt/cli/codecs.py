"""Which codecs PyAV can write and read here, each tried with a tiny clip that never leaves memory."""

from __future__ import annotations

import io
import os
from typing import Any

import av
import av.codec
import numpy as np

# Codec -> what a clip of it is written into.
VIDEO_CODECS = {
    "h264": "mp4",
    "hevc": "mp4",
    "vp8": "webm",
    "vp9": "webm",
    "av1": "mp4",
    "mpeg4": "avi",
    "mpeg1video": "mpeg",
    "mpeg2video": "mpegts",
    "mjpeg": "avi",
}
AUDIO_CODECS = {
    "aac": "mp4",
    "mp3": "mp3",
    "mp2": "mpegts",
    "opus": "webm",
    "vorbis": "ogg",
    "flac": "flac",
    "pcm_s16le": "wav",
}
OPTIONS = {
    "libx265": {"x265-params": "log-level=none"},  # it writes to stderr past FFmpeg's own log
    "vorbis": {"strict": "experimental"},  # FFmpeg's own encoder, which it wants asked for by name
}


def try_codecs() -> list[dict[str, Any]]:
    """The outcome of `try_codec` for every codec."""
    os.environ.setdefault("SVT_LOG", "1")  # errors alone: SVT-AV1 writes to stderr past FFmpeg's own log
    results = [try_codec(name, "video", container) for name, container in VIDEO_CODECS.items()]
    return results + [try_codec(name, "audio", container) for name, container in AUDIO_CODECS.items()]


def try_codec(name: str, kind: str, container: str) -> dict[str, Any]:
    """Write a tiny clip and read it back.

    `error` is None where that worked, or else what failed; without an encoder the decoder is not tried.
    """
    encoder, decoder = _codec(name, "w"), _codec(name, "r")
    result = {"name": name, "kind": kind, "encoder": encoder, "decoder": decoder, "error": None}
    if encoder is None or decoder is None:
        return result
    try:
        clip, wanted = (_video_clip if kind == "video" else _audio_clip)(encoder, container)
        seen = _read_back(clip, kind)
    except (av.FFmpegError, ValueError) as error:
        return {**result, "error": str(error)}
    if seen < wanted:
        return {**result, "error": f"{wanted} {'frames' if kind == 'video' else 'samples'} in, {seen} out"}
    return result


def _codec(name: str, mode: Any) -> str | None:
    try:
        return av.codec.Codec(name, mode).name
    except av.codec.codec.UnknownCodecError:
        return None


def _video_clip(encoder: str, container: str) -> tuple[bytes, int]:
    """Ten frames of a moving gradient, and their number."""
    buffer, frames = io.BytesIO(), 10
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(encoder, rate=25, options=OPTIONS.get(encoder))
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        ramp = np.arange(64, dtype=np.uint8)
        for shift in range(frames):
            image = np.broadcast_to((ramp[:, None] + ramp + 8 * shift)[..., None], (64, 64, 3))
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue(), frames


def _audio_clip(encoder: str, container: str) -> tuple[bytes, int]:
    """Half a second of a tone, and its number of samples."""
    buffer, rate = io.BytesIO(), 48_000
    tone = (10_000 * np.sin(np.arange(rate // 2) * (2 * np.pi * 440 / rate))).astype(np.int16)
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(encoder, rate=rate, layout="stereo", options=OPTIONS.get(encoder))
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[None], format="s16", layout="stereo")
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue(), tone.size


def _read_back(clip: bytes, kind: str) -> int:
    """How many frames of video, or samples of audio, decode."""
    with av.open(io.BytesIO(clip), "r") as source:
        frames: Any = source.decode(video=0) if kind == "video" else source.decode(audio=0)
        return sum(1 if kind == "video" else frame.samples for frame in frames)
