"""Files of several streams of a kind: the one that is taken, and another that is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition

from locomt.data import (
    DataConfig,
    FileDataset,
    ManifestDataset,
    NoStreamError,
    Sample,
    VideoSource,
    probe,
    read_frames,
)
from locomt.data.media.read import MediaFiles
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from locomt.nn.config import ConfigError
from media_clips import add_audio, add_video, pictures, tone, write_clip

RATE = 8000
GREYS, LOUD = (40, 120, 200), (0.1, 0.3, 0.7)
"""What each video stream shows throughout, and the amplitude of each audio stream."""


def add_grey(output: Any, place: int, default: bool, side: int = 32) -> Callable[[], None]:
    image = np.full((side, side, 3), GREYS[place], np.uint8)
    encode = add_video(output, [image] * 10, "mpeg4", rate=10)
    output.streams[-1].disposition = Disposition.default if default else Disposition(0)
    return encode


def add_tone(output: Any, place: int, default: bool) -> Callable[[], None]:
    encode = add_audio(
        output, tone(1, RATE, 440, LOUD[place])[None], RATE, "aac" if "mp4" in output.name else "pcm_s16le"
    )
    output.streams[-1].disposition = Disposition.default if default else Disposition(0)
    return encode


def write(path: Path, videos: int, audios: int, default: tuple[int, int] = (0, 0)) -> Path:
    """A clip of so many streams of each kind, of which these are marked as default."""
    return write_clip(
        path,
        *(lambda output, n=n: add_grey(output, n, n == default[0]) for n in range(videos)),
        *(lambda output, n=n: add_tone(output, n, n == default[1]) for n in range(audios)),
    )


def seen(path: Path, stream: int | None) -> int:
    """Which of the video streams is read."""
    shade = float(read_frames(path, 2, size=16, stream=stream).float().mean())
    return min(range(3), key=lambda n: abs(GREYS[n] - shade))


def heard(path: Path, stream: int | None, rate: int = RATE) -> int:
    with MediaFiles() as files:
        loud = float(files.open(path).read_audio(rate, stream)[0].abs().max())
    return min(range(3), key=lambda n: abs(LOUD[n] - loud))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("default", [(0, 0), (1, 2), (2, 1)])
def test_the_default_one_or_that_which_is_asked_for(name: str, default: tuple[int, int], tmp_path: Path) -> None:
    path = write(tmp_path / name, 3, 3, default)
    assert (seen(path, None), heard(path, None)) == default
    for stream in range(3):
        assert (seen(path, stream), heard(path, stream)) == (stream, stream)
    with pytest.raises(NoStreamError, match="there is no video stream 3: it has 3, counted from 0"):
        seen(path, 3)
    with pytest.raises(NoStreamError, match="there is no audio stream 7: it has 3, counted from 0"):
        heard(path, 7)


def test_of_none_that_is_marked_it_is_that_of_the_most_data(tmp_path: Path) -> None:
    small, large = ((lambda output, n=n, side=side: add_grey(output, n, True, side)) for n, side in ((0, 16), (1, 256)))
    path = write_clip(tmp_path / "a.mp4", small, large)
    assert seen(path, None) == 1


@pytest.mark.parametrize("kept", [2**26, 0], ids=["kept", "read again"])
def test_two_streams_of_an_open_file_do_not_mix(kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from locomt.data.media import packets as media_file

    monkeypatch.setattr(media_file, "KEPT", kept)
    path = write(tmp_path / "a.mp4", 2, 2)
    alone = {(rate, n): _sound(path, rate, n) for rate in (RATE, 12000) for n in (0, 1)}
    with MediaFiles() as files:
        file = files.open(path)
        for _ in range(2):
            for stream in (0, 1):
                assert (
                    abs(float(file.read_crops(2, [None], size=16, stream=stream)[0].float().mean()) - GREYS[stream]) < 5
                )
            for (rate, stream), sound in alone.items():
                assert torch.equal(file.read_audio(rate, stream)[0], sound)


def _sound(path: Path, rate: int, stream: int) -> torch.Tensor:
    with MediaFiles() as files:
        return files.open(path).read_audio(rate, stream)[0]


def test_covers_are_not_counted(tmp_path: Path) -> None:
    def cover(output: Any) -> Callable[[], None]:
        encode = add_video(output, pictures(1, 64, 64), "mjpeg")
        output.streams[-1].disposition = Disposition.attached_pic
        return encode

    path = write_clip(
        tmp_path / "a.mp4",
        cover,
        lambda output: add_grey(output, 0, False),
        lambda output: add_grey(output, 1, True),
        lambda output: add_tone(output, 0, True),
    )
    with av.open(str(path)) as container:
        assert sum(bool(stream.disposition & Disposition.attached_pic) for stream in container.streams.video) == 1
    assert (seen(path, None), seen(path, 0), seen(path, 1)) == (1, 0, 1)
    with pytest.raises(NoStreamError, match="there is no video stream 2: it has 2, counted from 0"):
        seen(path, 2)
    only = write_clip(tmp_path / "b.mp4", cover, lambda output: add_tone(output, 0, True))
    assert probe(only).video is None
    for stream in (None, 0):
        with pytest.raises(NoStreamError, match="there is no video stream"):
            seen(only, stream)


MODALITIES = {
    "front": {"kind": "video", "column": "clip", "frames": 2, "size": 16},
    "back": {"kind": "video", "column": "clip", "frames": 2, "size": 16, "stream": 1},
    "near": {"kind": "audio", "column": "clip", "seconds": 1, "rate": RATE, "mels": 16, "stream": 1},
}


def test_a_recipe_names_two_streams_of_one_file(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", 2, 2)
    write(tmp_path / "b.mkv", 1, 2)
    (tmp_path / "m.csv").write_text("id,split,label,clip\n0,train,a,a.mkv\n1,train,a,b.mkv\n")
    config = DataConfig(manifest=str(tmp_path / "m.csv"), modalities=MODALITIES)
    dataset = ManifestDataset(config, "train", ["a"])
    sample, bad = dataset[0], dataset[1]
    assert isinstance(sample, Sample)
    for name, stream in (("front", 0), ("back", 1)):
        assert abs(float(sample.inputs[name].float().mean()) - GREYS[stream]) < 5
    assert "there is no video stream 1: it has one, which is stream 0" in bad.reason
    missing = FileDataset(config, [tmp_path / "b.mkv"])[0]
    assert isinstance(missing, Sample)
    assert list(missing.inputs) == ["front", "near"]
    prepare(config, tmp_path / "shards", Storage(images="png", sound="npy"))
    stored = ManifestDataset(on_shards(tmp_path, MODALITIES), "train", ["a"])[0]
    assert all(torch.equal(stored.inputs[name], sample.inputs[name]) for name in MODALITIES)


def on_shards(path: Path, modalities: dict[str, Any]) -> DataConfig:
    return DataConfig(manifest=str(path / "shards" / "shards.json"), modalities=modalities)


def test_shards_of_another_stream_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", 2, 2)
    (tmp_path / "m.csv").write_text("id,split,label,clip\n0,train,a,a.mkv\n")
    prepare(DataConfig(manifest=str(tmp_path / "m.csv"), modalities=MODALITIES), tmp_path / "shards")
    for name, stream in (("front", 0), ("back", None), ("near", 0)):
        asked = {**MODALITIES, name: {**MODALITIES[name], "stream": stream}}
        with pytest.raises(ConfigError, match=rf"data\.modalities\.{name}\.stream is {stream}, but the shards"):
            ManifestDataset(on_shards(tmp_path, asked), "train", ["a"])


@pytest.mark.parametrize("stream", [-1, 1.0, "0", True])
def test_what_is_no_number_of_a_stream(stream: Any) -> None:
    with pytest.raises(ConfigError, match="stream: expected"):
        VideoSource(column="clip", stream=stream)
