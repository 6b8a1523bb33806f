"""Sound keeps its time: where packets are missing there is silence, and what sounds at 7 s is heard at 7 s."""

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coded_sound import clicks, heard_at, write_coded
from locomt.data import BadSample, DataConfig, FileDataset, ManifestDataset, MediaError, Sample, read_audio
from locomt.data.media.read import MediaFiles
from locomt.data.media.sound_time import HOLE, Clock
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage

RATE = 16000
SOUND = clicks(9, RATE, (1.0, 7.0))
TIMED = [
    *(("a.mp4", "aac", "mp4"), ("a.mkv", "aac", "matroska"), ("pcm.mkv", "pcm_s16le", "matroska")),
    *(("a.webm", "libopus", "webm"), ("a.ogg", "vorbis", "ogg"), ("a.opus", "libopus", "ogg")),
    *(("flac.ogg", "flac", "ogg"), ("mp3.mkv", "libmp3lame", "matroska")),
]
UNTIMED = [("a.mp3", "libmp3lame", "mp3"), ("a.avi", "pcm_s16le", "avi"), ("a.wav", "pcm_s16le", "wav")]


def rate_of(codec: str) -> int:
    return 48000 if codec == "libopus" else RATE


def without(begin: float, end: float) -> Callable[[float], float | None]:
    """Times of packets, those within this stretch being missing."""
    return lambda time: None if begin <= time < end else time


@pytest.mark.parametrize(("name", "codec", "container"), TIMED)
def test_what_sounds_at_seven_seconds_is_heard_there(name: str, codec: str, container: str, tmp_path: Path) -> None:
    rate = rate_of(codec)
    whole = clicks(9, rate, (1.0, 7.0))
    path = write_coded(tmp_path / name, whole, rate, codec, container, times=without(2, 5))
    samples = read_audio(path, RATE)
    assert heard_at(samples, RATE) == pytest.approx(heard_at(SOUND, RATE), abs=0.005)
    assert len(samples) / RATE == pytest.approx(9, abs=0.03)
    assert not samples[round(2.4 * RATE) : round(4.9 * RATE)].any()
    assert samples[: round(1.9 * RATE)].any()


@pytest.mark.parametrize(("name", "codec", "container"), [*TIMED, *UNTIMED])
def test_nothing_stands_in_a_file_without_holes(
    name: str, codec: str, container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its container rounds times, and whatever its clock says of the end."""
    clocks: list[Clock] = []
    made = Clock.__init__
    monkeypatch.setattr(Clock, "__init__", lambda clock, **given: clocks.append(clock) or made(clock, **given))
    rate = 48000 if codec == "libopus" else 22050
    read_audio(write_coded(tmp_path / name, clicks(12, rate, (1.0,)), rate, codec, container), RATE)
    (clock,) = clocks
    assert clock.missing == 0
    assert clock.heard == pytest.approx(12, abs=0.2)


@pytest.mark.parametrize("cut", ["whole", "crops", "temporal", "shards"])
def test_crops_and_events_are_of_their_own_seconds(cut: str, tmp_path: Path) -> None:
    """The chirp at 7 s is seen by whatever sees that second, beside pictures and alone."""
    write_coded(tmp_path / "a.mkv", SOUND, RATE, "pcm_s16le", "matroska", times=without(2, 5), images=225)
    (tmp_path / "clips.csv").write_text("id,split,label,clip\n1,train,a,a.mkv\n")
    audio = {"kind": "audio", "column": "clip", "seconds": 9, "mels": 16, "mean": 0, "std": 1}
    fields: dict[str, Any] = {"crops": {"crop": 4.0}, "temporal": {"task": "temporal", "seconds": 8, "step": 0.5}}.get(
        cut, {}
    )
    if cut == "temporal":
        audio["seconds"] = 8
        (tmp_path / "clips.csv").write_text("id,split,label,clip\n1,train,a@7-7.5,a.mkv\n")
    config = DataConfig(manifest=str(tmp_path / "clips.csv"), modalities={"audio": audio}, **fields)
    if cut == "shards":
        prepare(config, tmp_path / "shards", Storage(sound="npy"))
        config = DataConfig(manifest=str(tmp_path / "shards" / "shards.json"), modalities={"audio": audio})
    dataset = ManifestDataset(config, "train", ["a"])
    sample = dataset[0, 0.8] if cut == "crops" else dataset[0]
    assert isinstance(sample, Sample)
    loudness = sample.inputs["audio"].amax(dim=1)
    begin, wanted = (4.0, [7.0]) if cut == "crops" else (0.0, [1.0, 7.0])
    loud = torch.nonzero(loudness > loudness.max() - 1).flatten() / 100 + begin
    found = [float(time) for before, time in zip([-1.0, *loud], loud, strict=False) if time - before > 0.5]
    assert found == pytest.approx(wanted, abs=0.025)


def test_a_hole_at_another_rate_is_as_long(tmp_path: Path) -> None:
    """It is filled before the sound is resampled, and most of it takes no resampling."""
    whole = clicks(12, 44100, (1.0, 11.0))
    path = write_coded(tmp_path / "a.mkv", whole, 44100, "pcm_s16le", "matroska", times=without(2, 7.3))
    for rate in (8000, 22050, 44100):
        samples = read_audio(path, rate)
        assert len(samples) == pytest.approx(12 * rate, abs=0.001 * rate)
        assert heard_at(samples, rate) == pytest.approx(heard_at(whole, 44100), abs=0.002)
    kept = np.round(whole * 2**15) / 2**15
    assert np.abs(samples.numpy()[-4 * 44100 :] - kept[-4 * 44100 :]).max() < 0.05  # a sample or so apart


def test_matroska_that_begins_late_is_whole(tmp_path: Path) -> None:
    """FFmpeg counts its duration from 0 and not from where it begins."""
    path = write_coded(tmp_path / "a.mkv", SOUND, RATE, "flac", "matroska", times=lambda time: time + 3)
    with MediaFiles() as files:
        file = files.open(path)
        assert file.span == pytest.approx((3, 12), abs=0.01)
        sound = file.read_audio(RATE)
    assert heard_at(sound.samples, RATE) == pytest.approx(heard_at(SOUND, RATE), abs=0.002)
    assert sound.begin == pytest.approx(3, abs=0.01)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="truncated"):
        read_audio(path, RATE)


def test_small_holes_are_closed_once_they_add_up(tmp_path: Path) -> None:
    """One packet in ten is missing, as where a network loses some: none is long, and together they are a second."""
    sound = clicks(10, 48000, (1.0, 9.5))
    lost = lambda time: None if round(time / 0.02) % 10 == 5 else time  # noqa: E731
    path = write_coded(tmp_path / "a.webm", sound, 48000, "libopus", "webm", times=lost)
    assert heard_at(read_audio(path, RATE), RATE) == pytest.approx(heard_at(sound, 48000), abs=HOLE)


def test_a_track_that_is_mostly_holes_is_bad(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.mkv", SOUND, RATE, "pcm_s16le", "matroska", times=without(2, 8))
    figures = r"mostly holes: by the times of its packets 5\.9\d of 9\.0\d s are missing"
    with pytest.raises(MediaError, match=figures):
        read_audio(path, RATE)
    modalities = {"audio": {"kind": "audio", "column": "clip", "on_silent": "missing"}}
    bad = FileDataset(DataConfig(manifest="x.csv", modalities=modalities), [path])[0]
    assert isinstance(bad, BadSample)
    assert re.search(figures, bad.reason)


@pytest.mark.parametrize("jump", [3600 * 5, 3600 * 400])
def test_a_small_file_cannot_claim_hours_of_silence(jump: int, tmp_path: Path) -> None:
    later = lambda time: time + jump * (time > 4.5)  # noqa: E731
    path = write_coded(tmp_path / "a.ogg", SOUND, RATE, "flac", "ogg", times=later)
    tracemalloc.start()
    with pytest.raises(MediaError, match=r"mostly holes|at most 6 hours"):
        read_audio(path, RATE)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50 * 2**20


@pytest.mark.parametrize(("codec", "container"), [("mp2", "mpegts"), ("flac", "ogg")])
def test_times_that_jump_back_lose_no_sound(codec: str, container: str, tmp_path: Path) -> None:
    """Two recordings that were joined as they are, the second of which has a hole of its own."""
    path, other = tmp_path / "a", tmp_path / "b"
    write_coded(path, clicks(3, RATE, (1.0,)), RATE, codec, container)
    write_coded(other, clicks(4, RATE, (3.0,)), RATE, codec, container, times=without(1, 2))
    path.write_bytes(path.read_bytes() + other.read_bytes())
    samples = read_audio(path, RATE)
    assert len(samples) / RATE == pytest.approx(7, abs=0.15)
    assert heard_at(samples, RATE) == pytest.approx([1, 6], abs=0.1)
    with MediaFiles() as files:
        begin, end = files.open(path).sound_span(RATE)
        assert end - begin == pytest.approx(7, abs=0.15)


class Frame:
    """What is asked of a frame."""

    def __init__(self, time: float | None, samples: int, rate: int = 1000) -> None:
        self.time, self.samples, self.sample_rate = time, samples, rate


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(-49, 49)), min_size=1, max_size=100))
def test_jitter_leaves_no_hole(frames: list[tuple[int, int]]) -> None:
    begin, made = 0, []
    for samples, off in frames:
        made.append(Frame((begin + off) / 1000 if made else 0.0, samples))
        begin += samples
    assert [missing for missing, _ in Clock(timed=True).follow(made)] == [0] * len(made)


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 300)), min_size=1, max_size=60))
def test_every_sample_is_heard_within_a_hole_of_its_time(frames: list[tuple[int, int]]) -> None:
    """Whatever is missing between the frames."""
    begin, made = 0, []
    for samples, missing in frames:
        begin += missing
        made.append(Frame(begin / 1000, samples))
        begin += samples
    heard = round(made[0].time * 1000)
    for missing, frame in Clock(timed=True).follow(made):
        heard += missing
        assert 0 <= frame.time - heard / 1000 <= HOLE + 1e-9
        heard += frame.samples


def test_the_clock_of_frames_that_change_or_say_nothing() -> None:
    frames = [Frame(None, 100), Frame(5.0, 100), Frame(5.1, 100, 2000), Frame(6.0, 100, 2000), Frame(None, 50, 2000)]
    clock = Clock(timed=True)
    assert [missing for missing, _ in clock.follow(frames)] == [0, 0, 0, 1700, 0]
    assert (clock.heard, clock.missing) == pytest.approx((0.325, 0.85))
    assert [missing for missing, _ in Clock(timed=False).follow(frames)] == [0] * 5


def test_a_hole_beside_pictures_is_where_they_show_it(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.mp4", SOUND, RATE, "aac", "mp4", times=without(2, 5), images=225, bit_rate=128_000)
    with MediaFiles() as files:
        file = files.open(path)
        samples, begin, _ = file.read_audio(RATE)
        assert file.span == pytest.approx((0, 9), abs=0.07)
    assert [time + begin for time in heard_at(samples, RATE)] == pytest.approx(heard_at(SOUND, RATE), abs=0.005)
