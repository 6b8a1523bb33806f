"""Media and feature files, through the data sets that training and prediction read them by."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from fuzz.target import Target, check_items, one_in
from locomt.data import DataConfig, FileDataset, ManifestDataset, MediaError, probe
from locomt.data.guess import guess_modalities
from locomt.data.manifest import read_manifest
from locomt.data.shards.samples import reading
from locomt.data.shards.storage import Storage
from locomt.data.shards.writer import write_shard
from media_clips import add_audio, add_video, pictures, tone, write_video

RATE = 16000
CLIPS = {  # container, codecs of pictures and sound, layout of the pixels
    "h264.mp4": ("libx264", "aac", "yuv420p"),
    "hevc.mp4": ("libx265", "mp2", "yuv420p"),
    "av1.mp4": ("libsvtav1", "libopus", "yuv420p"),
    "mjpeg.mov": ("mjpeg", "pcm_s16le", "yuvj420p"),
    "prores.mov": ("prores", "alac", "yuv422p10le"),
    "ffv1.mkv": ("ffv1", "pcm_s16le", "bgr0"),
    "mpeg2.mkv": ("mpeg2video", "ac3", "yuv420p"),
    "vp8.webm": ("libvpx", "vorbis", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "libopus", "yuv420p"),
    "mpeg4.avi": ("mpeg4", "libmp3lame", "yuv420p"),
    "raw.avi": ("png", "pcm_s16le", "rgb24"),
    "sorenson.flv": ("flv", "libmp3lame", "yuv420p"),
    "h264.flv": ("libx264", "aac", "yuv420p"),
    "mpeg2.ts": ("mpeg2video", "mp2", "yuv420p"),
    "h264.ts": ("libx264", "aac", "yuv420p"),
    "moving.gif": ("gif", "", "rgb8"),
    "moving.webp": ("libwebp_anim", "", "yuv420p"),
    "plain.wav": ("", "pcm_s16le", ""),
    "float.wav": ("", "pcm_f32le", ""),
    "plain.flac": ("", "flac", ""),
    "plain.mp3": ("", "libmp3lame", ""),
    "vorbis.ogg": ("", "vorbis", ""),
    "opus.ogg": ("", "libopus", ""),
    "plain.m4a": ("", "aac", ""),
    "plain.wv": ("", "wavpack", ""),
    "plain.wmv": ("wmv2", "libmp3lame", "yuv420p"),
    "plain.aiff": ("", "pcm_s16be", ""),
}
STILLS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tiff": "TIFF"}
OPTIONS = {"libsvtav1": {"preset": "12", "svtav1-params": "lp=1"}}
LARGER = ("libx265", "libsvtav1")
"""Encoders that write beyond their own memory, or refuse, where a picture is smaller than 64 x 64."""
RATES = {"libopus": 48000, "libmp3lame": 44100, "ac3": 48000}
"""Of encoders that do not take 16,000 samples a second, or whose containers do not."""


def make_media(folder: Path) -> None:
    """A clip of 0.6 s of each kind that this FFmpeg can write, and pictures with a tag that says how to turn them."""
    for name, (video, audio, pixels) in CLIPS.items():
        if not all(codec in av.codec.codecs_available for codec in (video, audio) if codec):
            continue
        path = folder / name.replace(".", "_") / name
        path.parent.mkdir()
        with av.open(str(path), "w", options={"fflags": "+bitexact"}) as output:
            streams = []
            if video:
                size = (64, 64) if video in LARGER else (32, 48)
                streams.append(
                    add_video(output, pictures(9, *size), video, pixels=pixels, rate=15, options=OPTIONS.get(video))
                )
            if audio:
                rate = RATES.get(audio, RATE)
                streams.append(add_audio(output, np.stack([tone(0.6, rate)] * 2), rate, audio))
                output.streams.audio[0].codec_context.options = {"strict": "experimental"}  # FFmpeg's own Vorbis
            for encode in streams:
                encode()
    for degrees in (90, 180):  # one row of pixels, shown turned
        (folder / f"thin_{degrees}").mkdir()
        write_video(folder / f"thin_{degrees}" / "thin.mp4", pictures(5, 1, 64), "mpeg4", rotation=degrees)
    picture = Image.fromarray(pictures(1, 24, 40)[0])
    for end, form in STILLS.items():
        (folder / end).mkdir()
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(
            folder / end / f"still.{end}", form, **({"exif": exif} if form in ("JPEG", "PNG", "WEBP", "TIFF") else {})
        )


MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 2, "size": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 1.0, "rate": 8000, "mels": 16},
}
WAYS: dict[str, dict[str, Any]] = {
    "whole": {},
    "crop": {"crop": 0.2, "clips": 3},
    "temporal": {"task": "temporal", "seconds": 0.8, "step": 0.2},
}


def read_media(folder: Path) -> str | None:
    files = [path for path in sorted(folder.iterdir()) if path.name != "m.csv"]
    write_manifest(folder / "m.csv", [path.name for path in files], "clip")
    for path in files:
        with suppress(MediaError):
            probe(path)
    for way in WAYS.values():
        for names in ("video",), ("audio",):
            config = config_of(folder, names, **way)
            dataset = ManifestDataset(config, "train", ["a"], clips=config.clips)
            check_items(dataset, range(len(dataset)), config)
    config = config_of(folder, ("video", "audio"))
    reason = check_items(FileDataset(config, files), range(len(files)), config)
    if one_in(4, folder):
        rows = read_manifest(config.manifest, config.columns)
        with reading(config, Storage(fps=0), 0) as read:
            write_shard(folder / "x.tar", [(str(n), row) for n, row in enumerate(rows)], read(rows), lambda: None)
        with suppress(ValueError):
            guess_modalities(folder / "m.csv")
    return reason


def config_of(folder: Path, names: tuple[str, ...], **changes: Any) -> DataConfig:
    modalities = {name: MODALITIES[name] for name in names}
    return DataConfig(**{"manifest": str(folder / "m.csv"), "modalities": modalities, "max_bad": 1.0, **changes})


def write_manifest(path: Path, cells: list[str], column: str, label: str = "a") -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        [["id", "split", "label", column], *([str(n), "train", label, cell] for n, cell in enumerate(cells))]
    )
    path.write_text(text.getvalue())


def make_features(folder: Path) -> None:
    """Arrays of each kind that is read, in each format."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 6)).astype(np.float32)
    for name, array in {
        "rows": values,
        "one": values[0],
        "half": values.astype(np.float16),
        "whole": values.astype(">i4"),
    }.items():
        (folder / name).mkdir()
        np.save(folder / name / "x.npy", np.asfortranarray(array) if name == "half" else array)
    for name, write in {"npz": np.savez, "packed": np.savez_compressed}.items():
        (folder / name).mkdir()
        write(folder / name / "x.npz", features=values, other=values[:2])
    (folder / "safetensors").mkdir()
    save_file({"features": torch.tensor(values), "x": torch.ones(2)}, folder / "safetensors" / "x.safetensors")
    (folder / "bf16").mkdir()
    save_file({"features": torch.tensor(values).bfloat16()}, folder / "bf16" / "x.safetensors")


def read_features(folder: Path) -> str | None:
    files = [path for path in sorted(folder.iterdir()) if path.name != "m.csv"]
    source = {"kind": "features", "column": "x", "dim": 6, "max_length": 4}
    for changes, label in (({}, "a"), ({"task": "regression", "steps": ["x"]}, "1;2;3;4;5")):
        write_manifest(folder / "m.csv", [path.name for path in files], "x", label)
        config = DataConfig(manifest=str(folder / "m.csv"), modalities={"x": source}, **changes)
        dataset = ManifestDataset(config, "train", ["a"])
        check_items(dataset, range(len(dataset)), config)
    return check_items(FileDataset(config, files), range(len(files)), config)


TARGETS = [
    Target("media", make_media, read_media),
    Target("features", make_features, read_features),
]
