"""Open media files: read once for all that is asked of them, and again where they are too large to be kept."""

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from av import VideoFrame

from locomt.data import MediaError, read_audio, read_frames
from locomt.data.media import packets as media_file
from locomt.data.media.crop import Crop
from locomt.data.media.read import MediaFiles
from media_clips import add_audio, add_video, pictures, tone, write_clip, write_video

CROPS = (None, Crop(0.4, 0.9, (0.4, 0.9)), Crop(0.0, 0.3, (0.0, 0.3)))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(
        tmp_path / "clip.mp4",
        lambda output: add_video(output, pictures(30), "libx264", options={"g": "7", "bf": "2"}),
        lambda output: add_audio(output, tone(1.2, 16000)[None], 16000, "aac"),
    )


@pytest.mark.parametrize("kept", [2**26, 0], ids=["kept", "read again"])
def test_one_file_after_the_other_gives_what_each_alone_gives(
    kept: int, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [read_frames(clip, 5, size=32, crop=crop) for crop in CROPS]
    sounds = {rate: read_audio(clip, rate) for rate in (8000, 12000)}
    monkeypatch.setattr(media_file, "KEPT", kept)
    with MediaFiles() as files:
        for _ in range(2):
            file = files.open(clip)
            for rate, sound in sounds.items():
                assert torch.equal(file.read_audio(rate)[0], sound)
            for crop, frames in zip(CROPS, wanted, strict=True):
                assert torch.equal(file.read_crops(5, [crop], size=32)[0], frames)
            for found, frames in zip(file.read_crops(5, CROPS, size=32), wanted, strict=True):
                assert torch.equal(found, frames)
            assert file.span == pytest.approx((0, 1.2), abs=0.08)


def test_a_file_is_opened_and_read_once(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Any] = []
    read = media_file.packets_of
    monkeypatch.setattr(media_file, "packets_of", lambda *given: reads.append(given) or read(*given))
    with MediaFiles() as files:
        files.open(clip).read_audio(8000)
        files.open(clip).read_crops(3, [None], size=16)
        assert files.open(clip) is files.open(clip)
    assert len(reads) == 1


def test_nothing_of_a_file_is_left_when_it_was_read(clip: Path) -> None:
    """Frames in a cycle keep the threads of their decoder, which a forked worker cannot end: it crashes."""
    read_frames(clip, 3)
    gc.collect()
    gc.disable()
    try:
        before = sum(type(found) is VideoFrame for found in gc.get_objects())
        read_frames(clip, 5, size=16, crop=CROPS[1])
        assert sum(type(found) is VideoFrame for found in gc.get_objects()) == before
    finally:
        gc.enable()


def test_what_is_wrong_with_a_file_is_said_each_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", pictures(60), "libx264")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reasons = []
    with MediaFiles() as files:
        for _ in range(2):
            with pytest.raises(MediaError, match=r"truncated: its header states 2\.40 s") as caught:
                files.open(path).read_crops(1, [None], size=16)
            reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]


def test_the_file_that_is_damaged_is_named_though_others_are_open(clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(2000))
    with MediaFiles() as files:
        files.open(clip)
        with pytest.raises(MediaError, match=r"broken\.mp4"):
            files.open(broken)
        assert files.open(clip).read_crops(1, [None], size=16)[0].shape == (1, 3, 16, 16)
