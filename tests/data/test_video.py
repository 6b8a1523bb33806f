"""Frames: the right ones, no more decoded than needed, right way up and in the right colours."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from locomt.data import MediaError, NoStreamError, probe, read_frames
from locomt.data.media import frames as video
from locomt.data.media.frame_times import spread
from media_clips import add_audio, add_video, decode_all, pictures, tone, write_audio, write_clip, write_video

# Name, codec, options: containers with and without times, with and without key frames and reordered frames.
CLIPS = {
    "h264.mp4": ("libx264", {"g": "6", "bf": "2"}),
    "open_gop.mp4": ("libx264", {"g": "6", "bf": "2", "x264-params": "open-gop=1:scenecut=0"}),
    "h264.mkv": ("libx264", {"g": "1000", "bf": "3"}),
    "h264.ts": ("libx264", {"g": "5"}),
    "h264.avi": ("libx264", {"g": "5", "bf": "0"}),
    "hevc.mp4": ("libx265", {}),
    "mpeg1.mpg": ("mpeg1video", {"g": "6", "bf": "2"}),
    "mpeg2.ts": ("mpeg2video", {"g": "6", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", {"g": "7", "bf": "2"}),
    "vp8.webm": ("libvpx", {"g": "6", "auto-alt-ref": "1", "lag-in-frames": "10"}),
    "vp9.webm": ("libvpx-vp9", {"g": "6", "auto-alt-ref": "1", "lag-in-frames": "10", "cpu-used": "8"}),
    "mjpeg.avi": ("mjpeg", {}),
    "ffv1.mkv": ("ffv1", {}),
    "frames.gif": ("gif", {}),
    "raw.h264": ("libx264", {"g": "6", "bf": "0"}),
}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by one for every frame that comes out of a decoder."""
    seen: list[object] = []
    decode = video._decode

    def counting(*args: object) -> object:
        for frame in decode(*args):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(video, "_decode", counting)
    return seen


@given(total=st.integers(1, 500), count=st.integers(1, 100))
def test_spread_takes_the_centres_of_equal_parts(total: int, count: int) -> None:
    picked = spread(total, count)
    assert len(picked) == count
    assert all(0 <= place < total for place in picked)
    assert [total - 1 - place for place in reversed(picked)] == pytest.approx(picked, abs=1)
    for part, place in enumerate(picked):
        assert part * total / count <= place + 1
        assert place <= (part + 1) * total / count
    if count == total:
        assert picked == list(range(total))
    if count >= total:
        assert set(picked) == set(range(total))


@pytest.mark.parametrize("count", [1, 4, 30, 50])
@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_a_full_decode(name: str, count: int, tmp_path: Path) -> None:
    codec, options = CLIPS[name]
    pixels = "rgb8" if codec == "gif" else None
    path = write_video(tmp_path / name, pictures(30), codec, options=options, pixels=pixels)
    every = decode_all(path)
    assert len(every) == 30
    frames = read_frames(path, count)
    assert frames.dtype == torch.uint8
    assert np.array_equal(frames.numpy(), np.stack([every[place] for place in spread(30, count)]))


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "hevc.mp4", "mpeg1.mpg", "mpeg2.ts", "vp8.webm", "vp9.webm"])
def test_decodes_less_than_the_clip(name: str, tmp_path: Path, decoded: list[object]) -> None:
    codec, options = CLIPS[name]
    path = write_video(tmp_path / name, pictures(60), codec, options=options)
    read_frames(path, 3)
    assert 3 <= len(decoded) <= 24


def test_frames_that_no_other_depends_on_are_not_decoded(tmp_path: Path, decoded: list[object]) -> None:
    options = {"g": "1000", "bf": "3", "b-pyramid": "none", "x264-params": "scenecut=0:b-adapt=0"}
    path = write_video(tmp_path / "clip.mp4", pictures(60), "libx264", options=options)
    read_frames(path, 1)
    assert len(decoded) <= 12  # three of four frames up to the 30th are such frames


def test_a_late_frame_needs_what_precedes_its_key_frame_only(tmp_path: Path, decoded: list[object]) -> None:
    options = {"g": "10", "bf": "0", "x264-params": "scenecut=0"}
    path = write_video(tmp_path / "clip.mp4", pictures(60), "libx264", options=options)
    read_frames(path, 1)  # the 31st: the first of its group
    assert len(decoded) == 1


@pytest.mark.parametrize("stated", [3, 1000])
def test_the_header_may_lie_about_the_number_of_frames(stated: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", pictures(20), "mjpeg")
    every, content = decode_all(path), bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):  # dwTotalFrames and dwLength
        at = content.index(chunk) + 8 + offset - 8 * (chunk == b"avih")
        content[at : at + 4] = stated.to_bytes(4, "little")
    path.write_bytes(content)
    frames = read_frames(path, 5)
    assert np.array_equal(frames.numpy(), np.stack([every[place] for place in spread(20, 5)]))


def test_uneven_frame_times(tmp_path: Path) -> None:
    times = [0, 10, 20, 500, 510, 1500, 1501, 3000]
    path = write_video(tmp_path / "clip.mkv", pictures(8), "libx264", options={"g": "3"}, times=times)
    assert np.array_equal(read_frames(path, 8).numpy(), np.stack(decode_all(path)))


def test_lossless_frames_come_back_as_written(tmp_path: Path) -> None:
    images = pictures(6, 17, 33)
    frames = read_frames(write_video(tmp_path / "clip.mkv", images), 6)
    assert np.array_equal(frames.permute(0, 2, 3, 1).numpy(), np.stack(images))


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_rotated_clips_are_turned_upright(turn: int, tmp_path: Path) -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[:16, :16, 0] = 255  # a red corner, top left as encoded
    path = write_video(tmp_path / "clip.mp4", [image] * 3, "libx264", pixels="yuv444p", rotation=turn)
    frame = read_frames(path, 1)[0]
    upright = np.rot90(image, turn // 90)
    assert frame.shape == (3, *upright.shape[:2])
    assert np.abs(frame.permute(1, 2, 0).numpy().astype(int) - upright).mean() < 8
    square = read_frames(path, 1, size=16)[0, 0]
    middle = interpolate(frame[None, :, *_middle(frame)].float(), (16, 16), mode="bilinear", antialias=True)[0, 0]
    assert (square - middle).abs().max() <= 1


def _middle(frame: torch.Tensor) -> tuple[slice, slice]:
    height, width = frame.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (65, 31), (16, 16), (1, 1), (1, 7), (200, 30)])
def test_the_middle_is_scaled_to_the_size(height: int, width: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", pictures(2, height, width))
    whole = read_frames(path, 2)
    wanted = interpolate(whole[:, :, *_middle(whole[0])].float(), (16, 16), mode="bilinear", antialias=True)
    scaled = read_frames(path, 2, size=16)
    assert scaled.shape == (2, 3, 16, 16)
    assert (scaled - wanted).abs().max() <= 1


def test_scaling_down_does_not_alias(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    frame = read_frames(write_video(tmp_path / "clip.mkv", [board]), 1, size=16).float()
    assert (frame - 127.5).abs().max() < 8


@pytest.mark.parametrize("matrix", [1, 5], ids=["bt709", "bt601"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_colours_follow_matrix_and_range(matrix: int, full: bool, tmp_path: Path) -> None:
    path, levels = tmp_path / "clip.mp4", (120, 90, 170)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.color_range, stream.codec_context.colorspace = 2 if full else 1, matrix
        frame = av.VideoFrame(32, 32, "yuv420p")
        for plane, level in zip(frame.planes, levels, strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        frame.color_range, frame.colorspace = 2 if full else 1, matrix
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    seen = read_frames(path, 1)[0, :, 16, 16].tolist()
    assert seen == pytest.approx(to_rgb(levels, matrix, full), abs=2)


def to_rgb(levels: tuple[float, float, float], matrix: int, full: bool) -> list[float]:
    """ITU-R BT.709 and BT.601, straight from their definitions."""
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
    y, u, v = levels
    y, u, v = (
        (y / 255, (u - 128) / 255, (v - 128) / 255) if full else ((y - 16) / 219, (u - 128) / 224, (v - 128) / 224)
    )
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return [255 * min(1, max(0, c)) for c in (r, (y - red * r - blue * b) / (1 - red - blue), b)]


def test_the_main_one_of_several_streams(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "clip.mkv",
        lambda output: add_video(output, pictures(9, 16, 16), "mjpeg"),
        lambda output: add_audio(output, tone(0.36, 8000)[None], 8000),
        lambda output: add_video(output, pictures(9, 64, 64), "ffv1"),
    )
    info = probe(path)
    assert info.video is not None
    assert read_frames(path, 2).shape[2:] == (info.video.height, info.video.width)
    assert np.array_equal(read_frames(path, 9).numpy(), np.stack(decode_all(path)))


@pytest.mark.parametrize(
    "name", ["-clip.mkv", "http:clip.mkv", "a:b.mkv", "clip%03d.mkv", "-i", "käse.mkv", "a b'c.mkv"]
)
def test_any_file_name_will_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "clip.mkv", pictures(2)).rename(tmp_path / name)
    assert read_frames(tmp_path / name, 2).shape == (2, 3, 48, 64)
    monkeypatch.chdir(tmp_path)
    assert read_frames(name, 2).shape == (2, 3, 48, 64)


def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    image = pictures(1)[0]
    path = write_video(tmp_path / "image.png", [image], "png", container="image2")
    assert np.array_equal(read_frames(path, 3)[2].permute(1, 2, 0).numpy(), image)


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", pictures(20), "libx264", options={"g": "6"})
    assert torch.equal(read_frames(path, 5, size=32), read_frames(path, 5, size=32))


def test_probe_says_what_the_container_says(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "clip.mp4",
        lambda output: add_video(output, pictures(50), "libx264", rate=25),
        lambda output: add_audio(output, np.stack([tone(2.0, 44100)] * 2), 44100, "aac"),
    )
    info = probe(path)
    assert "mp4" in info.format
    assert info.seconds == pytest.approx(2.0, abs=0.05)
    assert info.video is not None
    assert (info.video.codec, info.video.width, info.video.height) == ("h264", 64, 48)
    assert (info.video.frames, info.video.fps) == (50, 25.0)
    assert info.audio is not None
    assert (info.audio.codec, info.audio.rate, info.audio.channels) == ("aac", 44100, 2)
    sound = probe(write_audio(tmp_path / "a.wav", tone(1.0, 8000)[None], 8000))
    assert sound.video is None
    assert sound.audio is not None
    assert sound.audio.seconds == 1.0


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_text(path: Path) -> None:
    path.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nno clip\n")


def as_playlist(path: Path) -> None:
    path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:{path.with_name('good.mkv')}\n#EXT-X-ENDLIST\n"
    )


def as_script(path: Path) -> None:
    path.write_text(f"ffconcat version 1.0\nfile '{path.with_name('good.mkv').name}'\n")


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (half, "truncated|damaged"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "got a folder"),
        (as_text, "no media file"),
        (as_playlist, "no media file"),
        (as_script, "no media file"),
        (lambda path: path.write_bytes(bytes(1000)), "no media file"),
    ],
    ids=["truncated", "empty", "missing", "folder", "text", "playlist", "script", "zeros"],
)
def test_what_cannot_be_decoded_is_named(
    name: str, damage: Callable[[Path], object], reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / name, pictures(50), "libx264", options={"g": "6"})
    write_video(tmp_path / "good.mkv", pictures(5))
    damage(path)
    for read in (lambda: read_frames(path, 4, size=16), lambda: probe(path) and read_frames(path, 1)):
        with pytest.raises(MediaError, match=reason) as caught:
            read()
        assert str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "list.mpd"])
def test_playlists_are_not_followed(name: str, tmp_path: Path) -> None:
    write_video(tmp_path / "good.mkv", pictures(5))
    (as_script if name.endswith("concat") else as_playlist)(tmp_path / name)
    with pytest.raises(MediaError, match="no media file of a known format"):
        read_frames(tmp_path / name, 1)


def test_no_video_stream(tmp_path: Path) -> None:
    with pytest.raises(NoStreamError, match="no video stream"):
        read_frames(write_audio(tmp_path / "a.wav", tone(1, 8000)[None], 8000), 1)


def test_frames_that_are_damaged_inside(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", pictures(10), "mjpeg")
    content = bytearray(path.read_bytes())
    start = content.index(b"movi")
    content[start + 200 : start + 6000] = b"\xff\xd9" * 2900  # the ends of pictures, one after the other
    path.write_bytes(content)
    with pytest.raises(MediaError, match="damaged"):
        read_frames(path, 10)
