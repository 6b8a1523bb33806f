"""Real clips decode to what their containers say, frame by frame."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from test_video import to_rgb

from locomt.data import DataConfig, FileDataset, MediaError, Sample, probe, read_audio, read_frames
from locomt.data.media import frames as video
from locomt.data.media.frame_times import spread
from media_clips import decode_all

pytestmark = pytest.mark.shared_data

GRID = [
    "bbaf2n",
    "brbk7n",
    "id2_vcd_swwp2s",
    "lbax4n",
    "lbbc2a",
    "lrwp9a",
    "lwbsza",
    "pwij3p",
    "sbia1a",
    "sbwe5n",
    "swiz3n",
]
# File, frames, width, height, frames a second, and sound: samples a second and seconds.
CLIPS = [
    ("moviepy/-video-with-dash-.mp4", 5, 1, 1, 1, None),
    ("moviepy/bitmap.mp4", 5, 1, 1, 1, None),
    ("moviepy/big_buck_bunny_0_30.webm", 720, 1280, 720, 24, (44100, 30.0)),
    ("moviepy/big_buck_bunny_432_433.webm", 24, 1280, 720, 24, (44100, 1.0)),
    ("moviepy/chaplin.mp4", 241, 640, 360, 25, (44100, 9.61)),
    ("moviepy/example.mp4", 50, 640, 480, 25, None),
    ("moviepy/example2.mp4", 48, 1280, 720, 24, (44100, 2.01)),
    ("moviepy/fire2.mp4", 25, 1280, 720, 10.505, (48000, 2.42)),  # its times leave a hole of 0.155 s near the beginning
    ("moviepy/smpte-2997.mp4", 251, 1920, 1080, 25, (48000, 10.05)),
    ("torchcodec/bt709_full_range.mp4", 30, 1280, 720, 30, None),
    ("torchcodec/h265_video.mp4", 10, 128, 128, 10, None),
    ("torchcodec/nasa_13013.mp4", 390, 480, 270, 29.97, (16000, 13.06)),
]
PLACES = {"moviepy/fire2.mp4": [3, 13, 21]}
"""The frames at 0.40, 1.19 and 1.98 s of a clip of 2.38 s that shows them for 80 to 100 ms; all others are steady."""
RECORDINGS = [
    ("moviepy/crunching.mp3", "mp3float", 48000, 2, 8.31),
    ("moviepy/example2.wav", "pcm_s16le", 44100, 2, 2.0),
    ("torchcodec/sine_mono_s16.wav", "pcm_s16le", 16000, 1, 4.0),
    ("torchcodec/sine_mono_s32_44100.wav", "pcm_s32le", 44100, 1, 4.0),
]


@pytest.mark.parametrize("name", GRID)
def test_grid(name: str, shared_data: Path) -> None:
    path = shared_data / "media" / "grid" / f"{name}.mpg"
    info = probe(path)
    assert info.video is not None
    assert info.audio is not None
    assert (info.video.codec, info.video.width, info.video.height, info.video.fps) == ("mpeg1video", 360, 288, 25.0)
    assert (info.audio.codec, info.audio.rate, info.audio.channels) == ("mp2", 44100, 2)
    assert info.seconds == pytest.approx(3.0, abs=0.05)
    every = np.stack(decode_all(path))
    assert len(every) == 75
    assert np.array_equal(read_frames(path, 75).numpy(), every)
    assert np.array_equal(read_frames(path, 8).numpy(), every[spread(75, 8)])
    assert len(read_audio(path, 44100)) / 44100 == pytest.approx(3.0, abs=0.05)
    assert len(read_audio(path, 16000)) / 16000 == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(("name", "count", "width", "height", "fps", "sound"), CLIPS)
def test_clips(
    name: str, count: int, width: int, height: int, fps: float, sound: tuple[int, float] | None, shared_data: Path
) -> None:
    path = shared_data / "media" / name
    info = probe(path)
    assert info.video is not None
    assert (info.video.width, info.video.height) == (width, height)
    assert info.video.fps == pytest.approx(fps, abs=0.001)
    assert info.video.frames in (None, count)
    assert (info.audio is None) == (sound is None)
    places = PLACES.get(name, spread(count, 3))
    every, wanted = 0, {}
    with av.open(f"file:{path}") as container:
        for frame in container.decode(container.streams.best("video")):
            if every in places:
                image = frame.to_ndarray(format="rgb24")
                wanted[every] = np.rot90(image, round(frame.rotation / 90)).transpose(2, 0, 1)
            every += 1
    assert every == count
    frames = read_frames(path, 3)
    assert np.array_equal(frames.numpy(), np.stack([wanted[place] for place in places]))
    assert read_frames(path, 2, size=32).shape == (2, 3, 32, 32)
    if sound is None:
        with pytest.raises(MediaError, match="no audio stream"):
            read_audio(path, 16000)
    else:
        assert info.audio is not None
        assert info.audio.rate == sound[0]
        assert len(read_audio(path, 16000)) / 16000 == pytest.approx(sound[1], abs=0.05)


@pytest.mark.parametrize(("name", "codec", "rate", "channels", "seconds"), RECORDINGS)
def test_recordings(name: str, codec: str, rate: int, channels: int, seconds: float, shared_data: Path) -> None:
    path = shared_data / "media" / name
    info = probe(path)
    assert info.video is None
    assert info.audio is not None
    assert (info.audio.codec, info.audio.rate, info.audio.channels) == (codec, rate, channels)
    assert info.seconds == pytest.approx(seconds, abs=0.01)
    for wanted in (8000, 16000, rate):
        samples = read_audio(path, wanted)
        assert len(samples) / wanted == pytest.approx(seconds, abs=0.02)
        assert 0.05 < samples.abs().max() < 1


def test_sines_of_two_sample_formats_are_the_same_sine(shared_data: Path) -> None:
    folder = shared_data / "media" / "torchcodec"
    one, other = (read_audio(folder / f"sine_mono_{name}.wav", 16000) for name in ("s16", "s32_44100"))
    assert (one - other)[1000:-1000].abs().max() < 1e-3


def test_a_long_clip_is_not_decoded_whole(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, decode = [], video._decode
    monkeypatch.setattr(video, "_decode", lambda *args: (seen.append(frame.pts) or frame for frame in decode(*args)))
    read_frames(shared_data / "media" / "moviepy" / "smpte-2997.mp4", 8, size=64)
    assert 8 <= len(seen) <= 60  # of 251


def test_full_range_bt709(shared_data: Path) -> None:
    path = shared_data / "media" / "torchcodec" / "bt709_full_range.mp4"
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    luma, blue, red = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes)
    shown = read_frames(path, 30)[0].float().numpy()
    # Blocks of 16 x 16 pixels hide how chroma is interpolated.
    blocks = [
        np.asarray(plane, float).reshape(45, n, 80, n).mean((1, 3)) for plane, n in ((luma, 16), (blue, 8), (red, 8))
    ]
    seen = shown.reshape(3, 45, 16, 80, 16).mean((2, 4))
    inner = [(y, x) for y in range(45) for x in range(80) if seen[:, y, x].min() > 20 and seen[:, y, x].max() < 235]
    assert len(inner) > 100
    errors = [np.abs(seen[:, y, x] - to_rgb(tuple(b[y, x] for b in blocks), 1, True)).max() for y, x in inner]
    assert np.median(errors) < 1.5


def test_grid_as_samples(shared_data: Path) -> None:
    modalities = {
        "video": {"kind": "video", "column": "clip", "frames": 4, "size": 64},
        "audio": {"kind": "audio", "column": "clip", "seconds": 3, "mels": 64},
    }
    files = [shared_data / "media" / "grid" / f"{name}.mpg" for name in GRID[:2]]
    for sample in (FileDataset(DataConfig(manifest="unused.csv", modalities=modalities), files)[n] for n in range(2)):
        assert isinstance(sample, Sample)
        assert sample.inputs["video"].shape == (4, 3, 64, 64)
        assert len(sample.inputs["audio"]) in (298, 299, 300)
        assert sample.inputs["audio"].isfinite().all()
        assert not torch.equal(sample.inputs["video"][0], sample.inputs["video"][3])
