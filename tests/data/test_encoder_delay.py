"""Time 0 is the first sample after those that a file says to skip: a sound has its time in all formats."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coded_sound import clicks, heard_at, write_coded
from locomt.data import DataConfig, FileDataset, ManifestDataset, Sample, read_audio
from locomt.data.media.read import MediaFiles
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage

SECONDS, TIMES = 6.0, (0.004, 0.5, 1.7, 2.6, 3.3, 4.1, 5.4, 5.95)
FORMATS = [
    *(("a.wav", "pcm_s16le", "wav"), ("a.flac", "flac", "flac"), ("a.mp3", "libmp3lame", "mp3")),
    *(("a.ogg", "vorbis", "ogg"), ("a.opus", "libopus", "ogg"), ("flac.ogg", "flac", "ogg")),
    *(("a.m4a", "aac", "ipod"), ("a.mp4", "aac", "mp4"), ("a.mov", "aac", "mov"), ("alac.m4a", "alac", "ipod")),
    *(("mp3.mp4", "libmp3lame", "mp4"), ("opus.mp4", "libopus", "mp4"), ("a.webm", "libopus", "webm")),
    *(("vorbis.webm", "vorbis", "webm"), ("a.mka", "aac", "matroska"), ("mp3.mka", "libmp3lame", "matroska")),
]
AUDIO: dict[str, Any] = {
    "kind": "audio", "column": "clip", "mels": 16, "hop_ms": 1, "window_ms": 4, "mean": 0, "std": 1, "seconds": 3,
}  # fmt: skip


def write(folder: Path, name: str, codec: str, container: str, rate: int = 44100, images: int = 0) -> Path:
    rate = 48000 if codec == "libopus" else rate
    return write_coded(folder / name, clicks(SECONDS, rate, TIMES), rate, codec, container, images=images)


def config(**changes: Any) -> DataConfig:
    return DataConfig(**{"manifest": "x.csv", "modalities": {"audio": AUDIO}, **changes})


def events(spectrogram: torch.Tensor) -> list[float]:
    """When each of the chirps is loudest, in seconds from the beginning."""
    loudness = spectrogram.exp().sum(dim=1)
    middles = []
    while loudness.max() > 200:
        place = int(loudness.argmax())
        middles.append(place / 1000)
        loudness[max(0, place - 40) : place + 40] = 0
    return sorted(middles)


def seen(files: FileDataset) -> list[list[float]]:
    sample = files[0]
    assert isinstance(sample, Sample), sample
    return [events(clip["audio"]) for clip in sample.clips]


@pytest.mark.parametrize(("name", "codec", "container"), FORMATS)
def test_samples_are_those_of_the_sound(name: str, codec: str, container: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, codec, container)
    samples, sound = read_audio(path, 16000).numpy(), clicks(SECONDS, 16000, TIMES)
    assert len(samples) / 16000 == pytest.approx(SECONDS, abs=0.003)
    shifted = np.correlate(np.pad(samples, 800), sound[: len(samples) - 400])
    assert abs(int(shifted.argmax()) - 800) <= 4  # a quarter of a millisecond
    with MediaFiles() as files:
        begin, end = files.open(path).sound_span(16000)
    assert end - begin == pytest.approx(SECONDS, abs=0.003)


@pytest.mark.parametrize(("name", "codec", "container"), FORMATS[1:])
def test_events_are_within_five_milliseconds(name: str, codec: str, container: str, tmp_path: Path) -> None:
    """In the middle of the whole, in crops from the first to the last, and in the first seconds."""
    wav, path = write(tmp_path, "reference.wav", "pcm_s16le", "wav"), write(tmp_path, name, codec, container)
    temporal = config(task="temporal", seconds=3, step=0.5)
    for made, clips in ((config(), 1), (config(crop=1.5), 4), (temporal, 1)):
        wanted, found = (seen(FileDataset(made, [file], clips=clips)) for file in (wav, path))
        assert [len(times) for times in wanted] == [len(times) for times in found]
        assert sum(map(len, wanted)) >= 4
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours == pytest.approx(theirs, abs=0.005)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_the_delay_of_mp3_at_any_rate(rate: int, tmp_path: Path) -> None:
    """At low rates it is more than a packet."""
    path = write(tmp_path, "a.mp3", "libmp3lame", "mp3", rate)
    assert heard_at(read_audio(path, 16000), 16000) == pytest.approx(
        heard_at(clicks(SECONDS, rate, TIMES), rate), abs=0.001
    )
    temporal = config(task="temporal", seconds=3, step=0.5)
    middles = [time + 0.015 for time in TIMES if time < 3]
    assert seen(FileDataset(temporal, [path])) == [pytest.approx(middles, abs=0.005)]


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        *(("a.mp4", "aac", "mp4"), ("a.mov", "aac", "mov"), ("mp3.mp4", "libmp3lame", "mp4")),
        *(("a.mkv", "aac", "matroska"), ("b.mkv", "libopus", "matroska"), ("c.mkv", "vorbis", "matroska")),
    ],
)  # fmt: skip
def test_sound_stays_beside_its_pictures(name: str, codec: str, container: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, codec, container, images=round(25 * SECONDS))
    with MediaFiles() as files:
        file = files.open(path)
        samples, begin, _ = file.read_audio(16000)
        assert file.span[0] == 0
    heard = [begin + time for time in heard_at(samples, 16000)]
    assert heard == pytest.approx(heard_at(clicks(SECONDS, 16000, TIMES), 16000), abs=0.005)
    temporal = config(task="temporal", seconds=3, step=0.5)
    assert seen(FileDataset(temporal, [path])) == [
        pytest.approx([time + 0.015 for time in TIMES if time < 3], abs=0.005)
    ]


@pytest.mark.parametrize("crop", [None, 1.5])
def test_shards_have_the_clock_of_the_files(crop: float | None, tmp_path: Path) -> None:
    write(tmp_path, "a.mp3", "libmp3lame", "mp3")
    (tmp_path / "m.csv").write_text("id,split,label,clip\n1,train,a,a.mp3\n")
    made = config(manifest=str(tmp_path / "m.csv"), crop=crop)
    prepare(made, tmp_path / "out", Storage(sound="npy"))
    stored = config(manifest=str(tmp_path / "out" / "shards.json"), crop=crop)
    clips = 1 if crop is None else 3
    one, other = (ManifestDataset(c, "train", ["a"], clips=clips)[0] for c in (made, stored))
    assert isinstance(one, Sample)
    assert isinstance(other, Sample)
    for ours, theirs in zip(one.clips, other.clips, strict=True):
        assert torch.equal(ours["audio"], theirs["audio"])


def test_what_says_nothing_keeps_its_delay(tmp_path: Path) -> None:
    """ADTS has no place to say it: what AAC puts in front is heard."""
    path = write(tmp_path, "a.aac", "aac", "adts")
    late = np.subtract(heard_at(read_audio(path, 16000), 16000), heard_at(clicks(SECONDS, 16000, TIMES), 16000))
    assert late == pytest.approx(np.full(len(TIMES), 1024 / 44100), abs=0.001)
