"""Crops in time: pictures and sound of the same seconds, from every place of a clip, and several of them a sample."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from locomt.data import (
    BadSample,
    DataConfig,
    FileDataset,
    ManifestDataset,
    MediaError,
    Sample,
    average_clips,
    collate,
    read_audio,
    read_frames,
)
from locomt.data.media import frames as video
from locomt.data.media import sound as audio
from locomt.data.media.crop import Crop, crop_at
from locomt.data.media.read import MediaFiles
from locomt.data.media.sound import cut
from locomt.nn.config import ConfigError
from media_clips import add_audio, add_video, pictures, tone, write_audio, write_clip, write_video
from timed_clips import FPS, MODALITIES, RATE, begin_of_sound, times_of_frames, write_timed

HEADER = "id,split,label,clip,title\n"


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ManifestDataset]:
    """A dataset of the clips in the test's folder."""

    def make(clips: int = 1, extra: dict[str, Any] | None = None, **changes: Any) -> ManifestDataset:
        files = sorted(path.name for path in tmp_path.glob("*.mkv"))
        rows = "".join(f"{name},train,a,{name},some words\n" for name in files)
        (tmp_path / "clips.csv").write_text(HEADER + rows)
        modalities = {**MODALITIES, **(extra or {})}
        config = DataConfig(manifest=str(tmp_path / "clips.csv"), modalities=modalities, **{"crop": 2.0, **changes})
        return ManifestDataset(config, "train", ["a"], clips=clips)

    return make


@pytest.mark.parametrize("late", [0.0, 0.75])
def test_pictures_and_sound_of_a_crop_are_of_the_same_seconds(make: Any, tmp_path: Path, late: float) -> None:
    write_timed(tmp_path / "a.mkv", 10)
    whole = make(crop=None)[0].inputs["audio"]
    write_timed(tmp_path / "b.mkv", 10, late)
    dataset = make()
    for place in (0.0, 0.2, 0.5, 0.77, 1.0):
        sample = dataset[1, place]
        begin = place * 8
        assert times_of_frames(sample.inputs["video"]) == pytest.approx(
            [begin + share * 2 for share in (1 / 8, 3 / 8, 5 / 8, 7 / 8)], abs=1 / FPS + 1e-6
        )
        silent = round(100 * max(0, late - begin))
        sound = sample.inputs["audio"][silent:]
        assert begin_of_sound(sound, whole) == pytest.approx(begin + silent / 100, abs=0.006)
        assert len(sample.inputs["audio"]) == pytest.approx(200, abs=1)
        assert len(sample.inputs["audio"][: max(0, silent - 2)].unique()) <= 1  # which it hears until it begins


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        *(("a.mp4", "libx264", "aac"), ("a.mov", "mpeg4", "aac"), ("a.mkv", "libx264", "aac")),
        *(("a.webm", "libvpx", "libopus"), ("a.ts", "libx264", "aac"), ("a.avi", "mpeg4", "pcm_s16le")),
    ],
)
def test_a_flash_and_a_click_stay_together(tmp_path: Path, name: str, codec: str, sound: str) -> None:
    """Whatever the codecs put in front of the sound, and however the container counts time."""
    images = [np.full((32, 32, 3), 255 if n >= 80 else 0, np.uint8) for n in range(200)]
    click = np.zeros((1, 8 * 48000))
    click[0, round(3.2 * 48000) :] = tone(4.8, 48000)
    path = write_clip(
        tmp_path / name,
        lambda output: add_video(output, images, codec, rate=25, options={"g": "50"}),
        lambda output: add_audio(output, click, 48000, sound),
    )
    modalities = {
        "video": {"kind": "video", "column": "clip", "frames": 50, "size": 32},
        "audio": {"kind": "audio", "column": "clip", "seconds": 2, "mels": 16, "mean": 0, "std": 1},
    }
    config = DataConfig(manifest="x.csv", modalities=modalities, crop=2.0)
    sample = FileDataset(config, [path], clips=7)[0]  # a second apart
    flashes, clicks = [], []
    for clip in sample.clips:
        bright = clip["video"].float().mean((1, 2, 3)) > 128
        loud = clip["audio"].amax(dim=1) > -5
        flashes.append(2 * (1 - float(bright.float().mean())))
        clicks.append(0.01 * (len(loud) - int(loud.sum())))
    expected = [min(2.0, max(0.0, 3.2 - begin)) for begin in range(7)]
    assert flashes == pytest.approx(expected, abs=0.09)
    assert clicks == pytest.approx(expected, abs=0.09)
    assert flashes == pytest.approx(clicks, abs=0.09)


def test_without_a_place_it_is_the_middle(make: Any, tmp_path: Path) -> None:
    write_timed(tmp_path / "a.mkv", 10)
    dataset = make()
    middle, asked = dataset[0], dataset[0, 0.5]
    assert middle.more == ()
    for name in MODALITIES:
        assert torch.equal(middle.inputs[name], asked.inputs[name])


def test_a_clip_shorter_than_the_crop_is_taken_whole(make: Any, tmp_path: Path) -> None:
    write_timed(tmp_path / "a.mkv", 1.5)
    whole = make(crop=None)[0]
    for place in (0.0, 0.3, 1.0):
        cropped = make()[0, place]
        for name in MODALITIES:
            assert torch.equal(cropped.inputs[name], whole.inputs[name])


def test_long_and_short_clips_in_a_batch_keep_their_lengths(make: Any, tmp_path: Path) -> None:
    for name, seconds in (("a", 5), ("b", 1.5), ("c", 3)):
        write_timed(tmp_path / f"{name}.mkv", seconds)
    dataset = make()
    batch = collate([dataset[i, 0.9] for i in range(3)], config=dataset.config)
    assert batch.lengths["audio"].tolist() == [200, 150, 200]
    assert batch.lengths["video"].tolist() == [4, 4, 4]
    assert (batch.inputs["audio"][1, 150:] == 0).all()


def test_sound_that_ends_before_the_crop_is_silence_there(make: Any, tmp_path: Path) -> None:
    write_timed(tmp_path / "b.mkv", 10, sound=4)
    dataset = make()
    assert min(times_of_frames(dataset[0, 1.0].inputs["video"])) >= 8
    assert dataset[0, 1.0].inputs["audio"].shape == (200, 16)
    assert len(dataset[0, 1.0].inputs["audio"].unique()) == 1
    assert len(dataset[0, 0.4].inputs["audio"]) == pytest.approx(80, abs=1)  # from 3.2 to 4 s


def test_clips_are_evenly_spaced_and_share_what_has_no_time(make: Any, tmp_path: Path) -> None:
    write_timed(tmp_path / "a.mkv", 8)
    write_timed(tmp_path / "b.mkv", 1)
    title = {"title": {"kind": "text", "column": "title", "max_length": 20}}
    dataset = make(clips=3, extra=title)
    sample = dataset[0]
    assert len(sample.clips) == 3
    for place, clip in zip((0.0, 0.5, 1.0), sample.clips, strict=True):
        one = dataset[0, place]
        for name in (*MODALITIES, "title"):
            assert torch.equal(clip[name], one.inputs[name])
    batch = collate([sample, dataset[1]], config=dataset.config)
    assert (batch.clips, len(batch), batch.ids, batch.labels.tolist()) == (3, 2, ["a.mkv", "b.mkv"], [0, 0])
    assert batch.lengths["audio"].tolist() == [200, 200, 200, 100, 100, 100]
    for row, clip in enumerate((*sample.clips, *dataset[1].clips)):
        for name, tensor in batch.inputs.items():
            assert torch.equal(tensor[row, : len(clip[name])], clip[name])


def test_several_clips_are_decoded_once(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_timed(tmp_path / "a.mkv", 6)
    asked = []
    for module, name in ((video, "_decode"), (audio, "_decoded")):
        decode = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, decode=decode: asked.append(decode) or decode(*args))
    assert len(make(clips=4)[0].clips) == 4
    assert len(asked) == 2


def test_frames_at_uneven_times_are_those_shown_within_the_crop(tmp_path: Path) -> None:
    times = [0, 100, 1000, 1100, 1900, 2000, 3900, 5000]
    path = write_video(tmp_path / "a.mkv", pictures(8), rate=10, times=times)
    every = read_frames(path, 51)[[time // 100 for time in times]]  # 5.1 s: the last one is shown for a tenth
    crops = {
        (0.9, 2.1): [2, 3, 3, 3, 3, 5],
        (1.9, 4.1): [5, 5, 5, 5, 5, 6],
        (2.5, 3.5): [5, 5, 5, 5, 5, 5],
        (4.5, 9.0): [6, 6, 6, 6, 6, 7],
    }
    for (begin, end), places in crops.items():
        found = read_frames(path, 6, crop=Crop(begin, end, (0.0, 1.0)))
        assert torch.equal(found, every[places])


@pytest.mark.parametrize("clips", [1, 2, 4])
def test_bare_files_are_cropped_as_those_of_a_manifest(make: Any, tmp_path: Path, clips: int) -> None:
    path = write_timed(tmp_path / "a.mkv", 6)
    dataset = make(clips=clips)
    for item in (path, {"video": path, "audio": path}):
        sample = FileDataset(dataset.config, [item], clips=clips)[0]
        for ours, theirs in zip(sample.clips, dataset[0].clips, strict=True):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_cache_keeps_no_crop_for_another(make: Any, tmp_path: Path) -> None:
    write_timed(tmp_path / "a.mkv", 10)
    plain, kept = make(), make(cache=True)
    for _ in range(2):
        for asked in ((0, 0.1), 0, (0, 0.9)):
            assert torch.equal(kept[asked].inputs["video"], plain[asked].inputs["video"])
    assert torch.equal(make(clips=2, cache=True)[0].more[0]["audio"], plain[0, 1.0].inputs["audio"])


def test_the_average_over_clips() -> None:
    logits = torch.randn(6, 4)
    assert torch.equal(average_clips(logits, 1), logits)
    by_hand = torch.stack([logits[:3].sum(dim=0) / 3, logits[3:].sum(dim=0) / 3])
    torch.testing.assert_close(average_clips(logits, 3), by_hand)


def test_a_silent_stretch_is_fine_where_the_recording_is_not_silent(tmp_path: Path) -> None:
    sound = np.zeros((1, 4 * RATE))
    sound[0, -100:] = 0.5
    path = write_audio(tmp_path / "a.wav", sound, RATE)
    config = DataConfig(manifest="x.csv", modalities={"audio": MODALITIES["audio"]}, crop=1.0)
    sample = FileDataset(config, [path], clips=2)[0]
    assert isinstance(sample, Sample)
    assert len(sample.inputs["audio"].unique()) == 1
    write_audio(path, sound * 0, RATE)
    silent = FileDataset(config, [path], clips=2)[0]
    assert isinstance(silent, BadSample)
    assert silent.reason == "all-zero audio throughout"


@pytest.mark.parametrize(
    ("name", "codec", "fps"),
    [
        ("a.mp4", "libx264", 10),
        ("a.avi", "libx264", 10),
        ("a.ts", "libx264", 10),
        ("a.webm", "libvpx", 10),
        ("a.h264", "libx264", 25),  # says nothing of time, and is taken for what FFmpeg assumes
    ],
)
def test_formats_with_and_without_times(tmp_path: Path, name: str, codec: str, fps: int) -> None:
    """The shade grows by 4 a frame, which lossy codecs keep apart."""
    images = [np.full((32, 32, 3), 20 + 4 * n, np.uint8) for n in range(50)]
    path = write_video(tmp_path / name, images, codec, rate=10, options={"g": "10", "bf": "0"})
    with MediaFiles() as files:
        span = files.open(path).span
    assert span[1] - span[0] == pytest.approx(50 / fps, abs=0.15)
    for place in (0.0, 0.5, 1.0):
        shades = read_frames(path, 2, crop=crop_at(span, 20 / fps, place)).float().mean((1, 2, 3))
        assert ((shades - 20) / 4).tolist() == pytest.approx([place * 30 + 5, place * 30 + 15], abs=1.6)


def test_what_is_truncated_is_bad_in_any_crop(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mkv", 6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    config = DataConfig(manifest="x.csv", modalities=MODALITIES, crop=1.0)
    for place in (0.0, 0.5):
        with MediaFiles() as files:
            file = files.open(path)
            crop = crop_at(file.span, 1.0, place)
            with pytest.raises(MediaError, match=r"truncated|damaged"):
                config.modalities["audio"].read_crops(file, (crop,))


@given(
    total=st.integers(1, 60),
    begin=st.floats(-5, 70),
    length=st.floats(0.01, 30),
    timed=st.booleans(),
)
def test_a_crop_takes_the_frames_within_it_and_always_one(total: int, begin: float, length: float, timed: bool) -> None:
    crop = Crop(begin, begin + length, (0.0, 1.0))
    seconds = [float(n) for n in range(total)]
    places = crop.places(total, seconds)
    assert 0 <= places.start < places.stop <= total
    inside = [n for n in range(total) if begin + 1e-4 < n < begin + length - 1e-4]
    assert set(inside) <= set(places)
    if inside:
        assert all(begin - 1e-4 <= n <= begin + length for n in places)
    else:
        assert len(places) <= 2
    assert crop.places(total, None) == range(total)


@given(
    samples=st.integers(1, 200),
    start=st.floats(-0.9, 2),
    begin=st.floats(-5, 25),
    length=st.floats(0.1, 30),
)
@example(samples=100, start=0.0625, begin=10.03125, length=1.0)  # begins behind the middle of the last sample
def test_cutting_sound(samples: int, start: float, begin: float, length: float) -> None:
    """Ten samples a second, whose values are their times."""
    times = start + 1 + torch.arange(samples, dtype=torch.float64) / 10  # none is 0, as silence is
    part = cut(times, start + 1, 10, Crop(begin, begin + length, (0.0, 1.0)))
    assert 1 <= len(part) <= round(length * 10) + 1
    inside = times[(times >= begin + 0.1) & (times < begin + length - 0.1)]
    assert set(inside.tolist()) <= set(part.tolist())
    for place, value in enumerate(part.tolist()):
        assert value == pytest.approx(begin + place / 10, abs=0.0501) or value == 0
    assert torch.equal(cut(times, start + 1, 10, Crop(-math.inf, math.inf, (0.0, 1.0))), times)


def test_crops_stay_within_the_file() -> None:
    for place in (0.0, 0.25, 1.0):
        crop = crop_at((1.0, 11.0), 4.0, place)
        assert (crop.begin, crop.end) == pytest.approx((1 + 6 * place, 5 + 6 * place))
        assert crop.share == pytest.approx((0.6 * place, 0.6 * place + 0.4))
    assert crop_at((0.0, 0.0), 4.0, 0.3).places(7, None) == range(7)  # nothing says how long it is


def test_sound_knows_when_it_begins(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mkv", 3, late=1.0)
    with MediaFiles() as files:
        samples, begin, silence = files.open(path).read_audio(RATE)
    assert begin == pytest.approx(1.0, abs=0.002)
    assert silence is None
    assert torch.equal(samples, read_audio(path, RATE))


def test_pictures_without_a_crop_are_those_of_the_whole_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", pictures(30))
    everything = Crop(-math.inf, math.inf, (0.0, 1.0))
    assert torch.equal(read_frames(path, 7, crop=everything), read_frames(path, 7))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": 0}, r"data\.clips: expected 1 or more, got 0"),
        ({"clips": 4}, r"data\.clips 4 needs data\.crop"),
        ({"crop": 0.0}, r"data\.crop: expected seconds above 0, got 0\.0"),
        ({"crop": 13.0}, r"data\.crop is 13 s, but modality 'audio' has room for 12 s; set data\.modalities\.audio\."),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(manifest="clips.csv", modalities=MODALITIES, **changes)
