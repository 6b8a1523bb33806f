"""What a media file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from locomt.data.media.container import best_stream, check_file, opened
from locomt.data.media.picture import is_picture, opened_picture


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a container says of its video stream.

    Attributes:
        codec: FFmpeg's name of it; of a picture, that of its format.
        width, height: in pixels, before rotation.
        fps: frames a second; None where it is not known.
        frames: how many; None where the container does not say.
        seconds: how long; None where the container does not say.
    """

    codec: str
    width: int
    height: int
    fps: float | None
    frames: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What a container says of its audio stream.

    Attributes:
        codec: FFmpeg's name of it.
        rate: samples a second.
        channels: how many.
        seconds: how long; None where the container does not say.
    """

    codec: str
    rate: int
    channels: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a container says of itself, which need not be true.

    Attributes:
        format: FFmpeg's names of it; of a picture `jpeg`, `png`, `webp`, `bmp`, `gif` or `tiff`.
        seconds: how long it is; None where it does not say.
        video: of the stream that `read_frames` reads; None where there is none.
        audio: of the stream that `read_audio` reads; None where there is none.
    """

    format: str
    seconds: float | None
    video: VideoInfo | None
    audio: AudioInfo | None


def probe(path: str | Path) -> MediaInfo:
    """What the container says, no stream of it decoded.

    Raises:
        MediaError: the file is no media file.
    """
    path = Path(path)
    check_file(path)
    if is_picture(path):
        return _probe_picture(path)
    with opened(path) as container:
        video, audio = best_stream(container, "video"), best_stream(container, "audio")
        return MediaInfo(
            format=container.format.name,
            seconds=container.duration / av.time_base if container.duration is not None else None,
            video=video and VideoInfo(
                codec=video.codec_context.name,
                width=video.codec_context.width,
                height=video.codec_context.height,
                fps=float(video.average_rate) if video.average_rate else None,
                frames=video.frames or None,
                seconds=_seconds(video),
            ),
            audio=audio and AudioInfo(
                codec=audio.codec_context.name,
                rate=audio.codec_context.sample_rate,
                channels=audio.codec_context.channels,
                seconds=_seconds(audio),
            ),
        )  # fmt: skip


def _probe_picture(path: Path) -> MediaInfo:
    with opened_picture(path) as picture:
        width, height = picture.image.size
        form = picture.image.format.lower().replace("mpo", "jpeg")  # a JPEG of several views
        info = VideoInfo(codec=form, width=width, height=height, fps=None, frames=picture.total, seconds=None)
        return MediaInfo(format=form, seconds=None, video=info, audio=None)


def _seconds(stream: Any) -> float | None:
    return None if stream.duration is None or stream.time_base is None else float(stream.duration * stream.time_base)
