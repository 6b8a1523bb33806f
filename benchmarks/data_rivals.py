"""What `locomt.data` is compared with: PyAV's plain loop and the `ffmpeg` program, with one thread each."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from locomt.data import AudioSource, VideoSource, log_mel

FFMPEG = shutil.which("ffmpeg")
TASKS = ("both", "video", "audio")


@dataclass(frozen=True)
class Wanted:
    """What is read of a clip.

    Attributes:
        path: the clip.
        places: of the frames; that they are known beforehand spares the rivals finding out how many there are.
        video, audio: how they are prepared; None leaves them out.
    """

    path: Path
    places: Sequence[int]
    video: VideoSource | None
    audio: AudioSource | None

    def spectrogram(self, samples: np.ndarray[Any, Any]) -> Tensor:
        """Of the middle of the sound, by the same code for all."""
        assert self.audio is not None
        most = round(self.audio.seconds * self.audio.rate)
        start = max(0, (len(samples) - most) // 2)
        middle = torch.from_numpy(samples[start : start + most])
        mels = log_mel(middle, rate=self.audio.rate, mels=self.audio.mels, window=self.audio.window, hop=self.audio.hop)
        return (mels[: self.audio.max_steps] - self.audio.mean) / self.audio.std


def by_locomt(wanted: Wanted) -> list[Tensor]:
    from locomt.data.media.read import MediaFiles

    with MediaFiles() as files:
        file = files.open(wanted.path)
        return [source.load(file) for source in (wanted.video, wanted.audio) if source is not None]


def by_pyav(wanted: Wanted) -> list[Tensor]:
    """All frames in order up to the last that is wanted, scaled by FFmpeg, and all of the sound."""
    found = []
    if wanted.video is not None:
        size, places, frames = wanted.video.size, set(wanted.places), []
        with av.open(str(wanted.path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for place, frame in enumerate(container.decode(stream)):
                if place in places:
                    width = round(frame.width * size / frame.height)
                    scaled = frame.reformat(width=width, height=size, format="rgb24", interpolation="BILINEAR")
                    left = (width - size) // 2
                    frames.append(scaled.to_ndarray()[:, left : left + size])
                    if len(frames) == len(places):
                        break
        found.append(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2))
    if wanted.audio is not None:
        resampler, parts = av.AudioResampler("fltp", None, wanted.audio.rate), []
        with av.open(str(wanted.path)) as container:
            for sound in container.decode(audio=0):
                parts += [part.to_ndarray().mean(axis=0) for part in resampler.resample(sound)]
            parts += [part.to_ndarray().mean(axis=0) for part in resampler.resample(None)]
        found.append(wanted.spectrogram(np.concatenate(parts)))
    return found


def by_ffmpeg(wanted: Wanted) -> list[Tensor]:
    """One call of the program, its start included, which writes raw frames and raw sound."""
    assert FFMPEG is not None
    command = [FFMPEG, "-nostdin", "-v", "error", "-y", "-threads", "1", "-filter_threads", "1", "-i", str(wanted.path)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        pixels, sound = Path(folder, "frames"), Path(folder, "sound")
        if wanted.video is not None:
            size = wanted.video.size
            select = "+".join(f"eq(n\\,{place})" for place in wanted.places)
            chain = f"select='{select}',scale=-2:{size}:flags=bilinear,crop={size}:{size}"
            command += ["-map", "0:v:0", "-vf", chain, "-frames:v", str(len(wanted.places)), "-fps_mode", "passthrough"]
            command += ["-pix_fmt", "rgb24", "-f", "rawvideo", str(pixels)]
        if wanted.audio is not None:
            command += [
                "-map",
                "0:a:0",
                "-af",
                "pan=mono|c0=0.5*c0+0.5*c1",
                "-ar",
                str(wanted.audio.rate),
                "-f",
                "f32le",
                str(sound),
            ]
        subprocess.run(command, check=True)
        if wanted.video is not None:
            frames = np.fromfile(pixels, np.uint8).reshape(-1, size, size, 3)
            found.append(torch.from_numpy(frames).permute(0, 3, 1, 2))
        if wanted.audio is not None:
            found.append(wanted.spectrogram(np.fromfile(sound, np.float32)))
    return found
