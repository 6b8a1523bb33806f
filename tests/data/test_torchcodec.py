"""torchcodec as the decoder: what is asked of it, and, where it can be loaded, that it gives what PyAV gives."""

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from locomt.data import BadSample, DataConfig, FileDataset, ManifestDataset, MediaError
from locomt.data.media import torchcodec as torchcodec_file
from locomt.data.media.crop import Crop
from locomt.data.media.read import MediaFiles
from locomt.data.media.torchcodec import load_torchcodec
from locomt.data.shards.prepare import prepare
from locomt.nn.config import ConfigError
from media_clips import add_audio, add_video, pictures, tone, write_clip, write_video

MODALITIES = {
    "video": {"kind": "video", "column": "clip", "frames": 4, "size": 32},
    "audio": {"kind": "audio", "column": "clip", "seconds": 1.0, "mels": 32},
}
CROPS = (None, Crop(0.4, 0.9, (0.4, 0.9)), Crop(0.0, 0.3, (0.0, 0.3)))


def loads() -> bool:
    try:
        load_torchcodec()
    except ConfigError:
        return False
    return True


needs_torchcodec = pytest.mark.skipif(not loads(), reason="torchcodec cannot be loaded here")


@dataclass
class Batch:
    data: torch.Tensor
    pts_seconds: torch.Tensor
    duration_seconds: torch.Tensor


class FakeDecoders(ModuleType):
    """torchcodec's interface over frames that are known: the frame at place n is all n, and 25 are shown a second."""

    asked: dict[str, Any]
    late = 0.0
    error: Exception | None = None

    def VideoDecoder(self, source: str, *, stream_index: int, device: str) -> Any:  # noqa: N802
        self.asked = {"source": source, "stream": stream_index, "device": device}
        return self

    def __len__(self) -> int:
        return 30

    def get_frames_at(self, indices: list[int]) -> Batch:
        self.asked["places"] = indices
        data = torch.tensor(indices, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 48, 64)
        seconds = torch.tensor(indices, dtype=torch.float64) / 25
        return Batch(data, seconds + self.late, torch.full_like(seconds, 0.04))

    def get_frames_played_at(self, seconds: list[float]) -> Batch:
        if self.error:
            raise self.error
        self.asked["seconds"] = seconds
        return self.get_frames_at([int(second * 25 + 1e-9) for second in seconds])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDecoders:
    decoders = FakeDecoders("torchcodec.decoders")
    monkeypatch.setattr(torchcodec_file, "load_torchcodec", lambda: decoders)
    return decoders


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(
        tmp_path / "clip.mp4",
        lambda output: add_video(output, pictures(30), "libx264", options={"g": "7", "bf": "2"}),
        lambda output: add_audio(output, np.stack([tone(1.2, 44100)] * 2), 44100, "aac"),
    )


def test_it_is_asked_for_the_frames_that_pyav_would_decode(fake: FakeDecoders, clip: Path) -> None:
    with MediaFiles("torchcodec") as files:
        whole, part, _ = files.open(clip).read_crops(5, CROPS, size=16)
    assert whole[:, 0, 0, 0].tolist() == [3, 9, 15, 21, 27]
    assert part[:, 0, 0, 0].tolist() == [11, 13, 16, 19, 21]  # of the 13 from 10 to 22
    assert fake.asked["places"] == sorted(set(fake.asked["places"]))
    assert fake.asked["source"] == str(clip.resolve())
    assert (fake.asked["stream"], fake.asked["device"]) == (0, "cpu")
    for second, place in zip(fake.asked["seconds"], fake.asked["places"], strict=True):
        assert place / 25 < second < place / 25 + 1e-4  # never on the boundary of two frames


def test_a_clip_without_times_is_asked_by_place(fake: FakeDecoders, tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", pictures(30), "libx264", options={"g": "6", "bf": "0"})
    with MediaFiles("torchcodec") as files:
        (frames,) = files.open(path).read_crops(3, [None], size=16)
    assert frames[:, 0, 0, 0].tolist() == [5, 15, 25]
    assert "seconds" not in fake.asked


def test_sound_is_decoded_by_pyav(fake: FakeDecoders, clip: Path) -> None:
    with MediaFiles("torchcodec") as files, MediaFiles() as pyav:
        ours, theirs = files.open(clip).read_audio(16000), pyav.open(clip).read_audio(16000)
    assert torch.equal(ours.samples, theirs.samples)
    assert not hasattr(fake, "asked")


def test_the_gpu_is_asked_for_by_its_name(fake: FakeDecoders, clip: Path) -> None:
    with MediaFiles("torchcodec-cuda") as files:
        frames = files.open(clip).read_crops(2, [None], size=16)[0]
    assert (fake.asked["device"], frames.device.type) == ("cuda", "cpu")


def test_other_frames_than_were_asked_for_are_refused(fake: FakeDecoders, clip: Path) -> None:
    fake.late = 0.04
    with MediaFiles("torchcodec") as files, pytest.raises(MediaError, match="has no frames that begin at"):
        files.open(clip).read_crops(2, [None], size=16)


def test_what_it_objects_to_makes_a_sample_bad(fake: FakeDecoders, clip: Path) -> None:
    fake.error = RuntimeError("Could not decode\nsomewhere in C++")
    bad = FileDataset(DataConfig(manifest="x.csv", modalities=MODALITIES, decoder="torchcodec"), [clip])[0]
    assert isinstance(bad, BadSample)
    assert (bad.file, bad.reason) == (str(clip), "torchcodec cannot decode it (Could not decode)")


def test_a_truncated_file_is_never_shown_to_it(fake: FakeDecoders, clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mkv"
    write_video(cut, pictures(60), "libx264")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with MediaFiles("torchcodec") as files, pytest.raises(MediaError, match="truncated"):
        files.open(cut).read_crops(2, [None], size=16)
    assert not hasattr(fake, "asked")


@pytest.mark.parametrize(
    ("installed", "message"),
    [(None, r"torchcodec is not installed; run `pip install"), ("0.9.1+cpu", r"expected torchcodec 0\.12 or later")],
)
def test_where_it_is_missing_or_old_that_is_said_at_once(
    installed: str | None, message: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(torchcodec_file, "version", version)
    load_torchcodec.cache_clear()
    config = DataConfig(manifest=str(clip.with_name("m.csv")), modalities=MODALITIES, decoder="torchcodec")
    Path(config.manifest).write_text("id,split,label,clip\n1,train,a,clip.mp4\n")
    for make in (lambda: FileDataset(config, [clip]), lambda: ManifestDataset(config, "train", ["a"])):
        with pytest.raises(ConfigError, match=message):
            make()
    load_torchcodec.cache_clear()


def test_where_its_libraries_are_missing_the_first_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchcodec_file, "version", lambda name: "0.17.0+cu130")
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    load_torchcodec.cache_clear()
    with pytest.raises(ConfigError, match=r"torchcodec 0\.17\.0\+cu130 cannot be loaded beside torch"):
        load_torchcodec()
    load_torchcodec.cache_clear()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "torchcode"}, r"data\.decoder: expected one of pyav, torchcodec, torchcodec-cuda"),
        ({"decoder": "torchcodec-cuda", "workers": 2}, r"cannot be used by worker processes, got data\.workers 2"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(manifest="x.csv", modalities=MODALITIES, **changes)


def test_shards_are_not_made_by_it(tmp_path: Path) -> None:
    config = DataConfig(manifest=str(tmp_path / "x.csv"), modalities=MODALITIES, decoder="torchcodec")
    with pytest.raises(ConfigError, match="shards are made by PyAV alone"):
        prepare(config, tmp_path / "shards")


@needs_torchcodec
@pytest.mark.parametrize(
    ("name", "codec", "options", "rotation"),
    [
        ("a.mp4", "libx264", {"g": "6", "bf": "2"}, 0),
        ("a.mkv", "libx264", {"g": "1000", "bf": "3"}, 0),
        ("a.avi", "mpeg4", {"g": "7", "bf": "0"}, 0),
        ("a.webm", "libvpx-vp9", {"g": "6", "cpu-used": "8"}, 0),
        ("turned.mp4", "libx264", {}, 90),
    ],
)
def test_its_frames_are_those_of_pyav(
    name: str, codec: str, options: dict[str, str], rotation: int, tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, pictures(30), codec, options=options, rotation=rotation)
    with MediaFiles() as pyav, MediaFiles("torchcodec") as torchcodec:
        wanted, found = (files.open(path).read_crops(5, CROPS, size=32) for files in (pyav, torchcodec))
    for one, other in zip(wanted, found, strict=True):
        apart = (one.float() - other.float()).abs().mean(dim=(1, 2, 3))
        assert apart.max() < 2  # of 255: another release of FFmpeg turns it into RGB
        for place in range(len(one) - 1):
            assert (one[place].float() - other[place + 1].float()).abs().mean() > 2 * apart.max()


@needs_torchcodec
@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("a.mpg", "mpeg1video")])
def test_where_its_seeking_fails_it_never_gives_other_frames(name: str, codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, pictures(30), codec, options={"g": "5"})
    with MediaFiles() as pyav, MediaFiles("torchcodec") as torchcodec:
        (wanted,) = pyav.open(path).read_crops(5, [None], size=32)
        try:
            (found,) = torchcodec.open(path).read_crops(5, [None], size=32)
        except MediaError as error:
            assert "torchcodec" in error.reason  # noqa: PT017  of FFmpeg 5.1; later ones may succeed
        else:
            assert (wanted.float() - found.float()).abs().mean(dim=(1, 2, 3)).max() < 2


def test_mirrored_clips_are_left_to_pyav(fake: FakeDecoders, tmp_path: Path) -> None:
    """torchcodec turns frames by the angle that a display matrix says, and does not mirror them."""
    image = pictures(1, 32, 48)[0]
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "rgb24"
        if not hasattr(stream, "set_display_matrix"):
            pytest.skip("this PyAV writes no display matrices")
        stream.set_display_matrix([-(2**16), 0, 0, 0, 2**16, 0, 0, 0, 2**30])
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")), *stream.encode(None)):
            output.mux(packet)
    with MediaFiles("torchcodec") as files:
        (frames,) = files.open(tmp_path / "a.mp4").read_crops(1, [None], size=None)
    assert np.array_equal(frames[0].permute(1, 2, 0).numpy(), image[:, ::-1])
    assert not hasattr(fake, "asked")


def test_it_is_asked_for_the_stream_that_a_recipe_names(fake: FakeDecoders, tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.mkv",
        lambda output: add_video(output, pictures(30), "libx264"),
        lambda output: add_audio(output, tone(1.2, 16000)[None], 16000),
        lambda output: add_video(output, pictures(30), "libx264"),
        lambda output: add_audio(output, tone(1.2, 16000)[None], 16000),
    )
    with MediaFiles("torchcodec") as files:
        files.open(path).read_crops(2, [None], size=16, stream=1)
        assert fake.asked["stream"] == 2


def test_pictures_are_not_its_business(fake: FakeDecoders, tmp_path: Path) -> None:
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.jpg", "PNG")
    with MediaFiles("torchcodec") as files:
        (frames,) = files.open(tmp_path / "a.jpg").read_crops(1, [None], size=None)
    assert np.array_equal(frames[0].permute(1, 2, 0).numpy(), pictures(1)[0])
