"""Pictures: told by their content, upright, in the right colours, and one frame unless they are animated."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from bad_files import huge_png
from locomt.data import (
    BadSample,
    DataConfig,
    FileDataset,
    ManifestDataset,
    MediaError,
    NoStreamError,
    Sample,
    probe,
    read_audio,
    read_frames,
)
from locomt.data.guess import guess_modalities
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from media_clips import pictures, write_video

# Format, what Pillow saves it with, by how much of 255 it may differ from what was written.
FORMATS: dict[str, tuple[dict[str, Any], int]] = {
    "JPEG": ({"quality": 95, "subsampling": 0}, 8),
    "PNG": ({}, 0),
    "WEBP": ({"lossless": True}, 0),
    "BMP": ({}, 0),
    "GIF": ({}, 0),
    "TIFF": ({}, 0),
}
NAMES = [
    "photo.jpg",
    "PHOTO.JPG",
    "photo.png",
    "photo.mp4",
    "photo.bin",
    "photo",
    "photo%03d.jpg",
    "photo*.bmp",
    "a.gif",
]


def saved(path: Path, image: np.ndarray | Image.Image, form: str, **options: Any) -> Path:
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(path, form, **options)
    return path


def pixels(path: Path, count: int = 1) -> np.ndarray:
    """The first of the frames that are read, `[height, width, 3]`."""
    return read_frames(path, count)[0].permute(1, 2, 0).numpy()


def apart(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("form", FORMATS)
def test_the_content_decides_whatever_the_name(form: str, tmp_path: Path) -> None:
    options, most = FORMATS[form]
    colours = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    image = colours.repeat(48, 0).repeat(64, 1)
    for name in NAMES:
        path = saved(tmp_path / name, image, form, **options)
        assert apart(pixels(path), image) <= most
        info = probe(path)
        assert (info.format, info.audio) == (form.lower(), None)
        assert info.video is not None
        assert (info.video.width, info.video.height, info.video.frames) == (320, 240, 1)
        assert read_frames(path, 3, size=16).shape == (3, 3, 16, 16)
        path.unlink()


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image, 1),
}
"""The orientation in EXIF -> what shows the stored pixels as they are meant, by its definition: with 6 the top of the
picture is stored at the right."""


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_every_orientation_is_shown_upright(form: str, orientation: int, tmp_path: Path) -> None:
    options, most = FORMATS[form]
    image, exif = pictures(1, 24, 40)[0], Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", image, form, exif=exif, **options)
    assert apart(pixels(path), TURNS[orientation](image)) <= most


def test_odd_exif_is_no_reason_to_refuse_a_picture(tmp_path: Path) -> None:
    image = pictures(1, 24, 40)[0]
    for content in (b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff", b"no exif"):
        path = saved(tmp_path / "a.jpg", image, "JPEG", exif=content, quality=95, subsampling=0)
        assert apart(pixels(path), image) <= 8


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ([-1, 0, 0, 0, 1, 0, 0, 0], TURNS[2]),
        ([1, 0, 0, 0, -1, 0, 0, 0], TURNS[4]),
        ([0, 1, 0, 1, 0, 0, 0, 0], TURNS[5]),
        ([0, -1, 0, -1, 0, 0, 0, 0], TURNS[7]),
        ([-1, 0, 0, 0, -1, 0, 0, 0], TURNS[3]),
        ([0, 1, 0, -1, 0, 0, 0, 0], TURNS[6]),
    ],
    ids=["flipped", "upside down", "transposed", "transversed", "half a turn", "a quarter"],
)
def test_mirrored_clips_are_mirrored_back(
    name: str, matrix: list[int], shown: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    image = pictures(1, 32, 48)[0]
    with av.open(str(tmp_path / name), "w") as output:
        stream = output.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "rgb24"
        if not hasattr(stream, "set_display_matrix"):
            pytest.skip("this PyAV writes no display matrices")
        stream.set_display_matrix([*(number * 2**16 for number in matrix), 2**30])
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")), *stream.encode(None)):
            output.mux(packet)
    assert np.array_equal(pixels(tmp_path / name), shown(image))
    assert read_frames(tmp_path / name, 1, size=16).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("turn", [90, -90, 180])
@pytest.mark.parametrize("shape", [(1, 64), (64, 1), (1, 1)])
def test_clips_of_one_row_or_column_are_turned_too(turn: int, shape: tuple[int, int], tmp_path: Path) -> None:
    image = pictures(1, *shape)[0]
    path = write_video(tmp_path / "a.mov", [image] * 2, "png", rotation=turn)
    assert np.array_equal(pixels(path), np.rot90(image, turn // 90))
    assert read_frames(path, 2, size=16).shape == (2, 3, 16, 16)


def test_kinds_of_pixels(tmp_path: Path) -> None:
    image = pictures(1, 24, 40)[0]
    grey = image[..., 0]
    as_rgb = grey[..., None].repeat(3, -1)
    assert np.array_equal(pixels(saved(tmp_path / "grey.png", grey, "PNG")), as_rgb)
    deep = grey.astype(np.uint16) * 256 + 77
    assert np.array_equal(pixels(saved(tmp_path / "deep.png", deep, "PNG")), as_rgb)
    assert np.array_equal(pixels(saved(tmp_path / "deep.tif", deep, "TIFF")), as_rgb)
    assert np.array_equal(pixels(saved(tmp_path / "lzw.tif", image, "TIFF", compression="tiff_lzw")), image)
    black = Image.fromarray(grey > 127)
    assert np.array_equal(pixels(saved(tmp_path / "one.png", black, "PNG")), (as_rgb > 127) * np.uint8(255))
    cmyk = Image.fromarray(image).convert("CMYK")
    assert apart(pixels(saved(tmp_path / "cmyk.jpg", cmyk, "JPEG", quality=95)), image) <= 8
    slow = saved(tmp_path / "slow.jpg", image, "JPEG", quality=95, subsampling=0, progressive=True)
    assert apart(pixels(slow), image) <= 8
    few = Image.fromarray(image).quantize(8)
    assert np.array_equal(pixels(saved(tmp_path / "few.png", few, "PNG")), np.array(few.convert("RGB")))
    for shape in ((1, 1), (1, 9), (9, 1)):
        tiny = pictures(1, *shape)[0]
        for form in ("PNG", "BMP", "TIFF"):
            assert np.array_equal(pixels(saved(tmp_path / "tiny", tiny, form)), tiny)
    with pytest.raises(MediaError, match="expected pixels of 8 or 16 bits, got 32 bits"):
        read_frames(saved(tmp_path / "float.tif", grey.astype(np.float32), "TIFF"), 1)


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    image = np.zeros((4, 6, 4), np.uint8)
    image[..., 3] = [0, 0, 128, 128, 255, 255]  # black, which is hidden, half hidden or seen
    wanted = np.array([255, 255, 127, 127, 0, 0])[None, :, None].repeat(4, 0).repeat(3, -1)
    for form in ("PNG", "WEBP"):
        options = {"lossless": True, "exact": True} if form == "WEBP" else {}
        assert apart(pixels(saved(tmp_path / "a", image, form, **options)), wanted) <= 1
    palette = Image.new("P", (6, 4))
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.putdata([0, 1] * 12)
    found = pixels(saved(tmp_path / "b.png", palette, "PNG", transparency=0))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == [0, 0, 200]


ANIMATIONS: dict[str, dict[str, Any]] = {"GIF": {"disposal": 2}, "WEBP": {"lossless": True}, "PNG": {}}


def animated(path: Path, form: str, delays: list[int], **options: Any) -> None:
    frames = [np.full((16, 24, 3), 20 * n, np.uint8) for n in range(len(delays))]
    first, *more = map(Image.fromarray, frames)
    first.save(path, form, save_all=True, append_images=more, duration=delays, **ANIMATIONS[form], **options)


@pytest.mark.parametrize("form", ANIMATIONS)
def test_animations_are_clips_whose_frames_last_as_long_as_they_say(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    animated(path, form, [100, 100, 1600, 200])
    found = read_frames(path, 10)[:, 0, 0, 0].tolist()  # at 0.1, 0.3, ... 1.9 s
    assert found == pytest.approx([20, *[40] * 8, 60], abs=1)
    info = probe(path)
    assert info.video is not None
    assert (info.format, info.video.frames) == (form.lower(), 4)


def test_a_delay_too_short_to_be_meant_is_that_which_browsers_show(tmp_path: Path) -> None:
    animated(tmp_path / "a.gif", "GIF", [0, 10, 100])
    assert read_frames(tmp_path / "a.gif", 3)[:, 0, 0, 0].tolist() == pytest.approx([0, 20, 40], abs=1)


def test_the_still_before_an_animated_png_is_no_frame_of_it(tmp_path: Path) -> None:
    animated(tmp_path / "a.png", "PNG", [100] * 4, default_image=True)
    assert read_frames(tmp_path / "a.png", 3)[:, 0, 0, 0].tolist() == [20, 40, 60]


def test_of_several_pages_the_first_is_what_one_sees(tmp_path: Path) -> None:
    first, second = (Image.fromarray(image) for image in pictures(2))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert np.array_equal(pixels(tmp_path / "a.tif", 4), np.array(first))
    left, right = (Image.new("RGB", (64, 48), (shade, shade, shade)) for shade in (40, 200))
    left.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[right])
    assert apart(pixels(tmp_path / "a.jpg", 4), np.array(left)) <= 1
    assert probe(tmp_path / "a.jpg").format == "jpeg"


def test_the_preview_in_a_raw_file_is_not_taken_for_the_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.dng", pictures(1)[0], "TIFF", tiffinfo={254: 1})
    with pytest.raises(MediaError, match="whose first page is a preview"):
        read_frames(path, 1)


def test_pictures_as_samples_from_files_and_shards(tmp_path: Path) -> None:
    image, exif = pictures(1, 30, 40)[0], Image.Exif()
    exif[0x0112] = 5
    saved(tmp_path / "a.jpg", image, "JPEG", exif=exif)
    animated(tmp_path / "b.webp", "WEBP", [100, 900])
    (tmp_path / "m.csv").write_text("id,split,label,clip\n0,train,a,a.jpg\n1,train,a,b.webp\n")
    video = {"kind": "video", "column": "clip", "frames": 4, "size": 16}
    config = DataConfig(manifest=str(tmp_path / "m.csv"), modalities={"video": video})
    prepare(config, tmp_path / "shards", Storage(images="png", fps=0))
    for crop in (None, 0.5):
        wanted, found = (
            ManifestDataset(DataConfig(manifest=str(m), modalities={"video": video}, crop=crop), "train", ["a"])
            for m in (tmp_path / "m.csv", tmp_path / "shards" / "shards.json")
        )
        for n in range(2):
            assert torch.equal(wanted[n].inputs["video"], found[n].inputs["video"])
    assert wanted[1].inputs["video"][:, 0, 0, 0].tolist() == pytest.approx([20] * 4, abs=1)  # of 0.25 to 0.75 s
    sound = {"kind": "audio", "column": "clip", "seconds": 1}
    both = DataConfig(manifest="x.csv", modalities={"video": video, "audio": sound})
    sample = FileDataset(both, [tmp_path / "a.jpg"])[0]
    assert isinstance(sample, Sample)
    assert list(sample.inputs) == ["video"]
    with pytest.raises(NoStreamError, match="there is no audio stream"):
        read_audio(tmp_path / "a.jpg", 16000)


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_pictures_are_refused_by_name(form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "a.jpg", pictures(1, 120, 160)[0], form, **FORMATS[form][0])
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:14], whole[:14] + bytes(500)):
        path.write_bytes(content)
        with pytest.raises(MediaError, match="damaged or no media file") as caught:
            read_frames(path, 1, size=16)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("side", [12000, 20000])
def test_pictures_beyond_reason_are_refused_before_they_are_decoded(side: int, tmp_path: Path) -> None:
    """Pillow warns of the one and refuses the other by itself."""
    (tmp_path / "a.png").write_bytes(huge_png(side))
    with pytest.raises(MediaError, match="expected frames of at most 128 megapixels"):
        read_frames(tmp_path / "a.png", 1)


def folder_of(path: Path, *files: Path) -> Path:
    for label in ("a", "b"):
        (path / label).mkdir(parents=True)
        for number, file in enumerate(files):
            shutil.copy(file, path / label / f"{number}{file.suffix}")
    return path


def test_a_folder_of_pictures_is_guessed_as_images(tmp_path: Path) -> None:
    still = [saved(tmp_path / f"{form}.jpg", pictures(1)[0], form) for form in FORMATS]
    animated(moving := tmp_path / "moving.gif", "GIF", [100, 100])
    clip = write_video(tmp_path / "clip.mp4", pictures(4), "libx264")
    one = {"image": {"kind": "image", "column": "clip"}}
    several = {"video": {"kind": "video", "column": "clip"}}
    assert guess_modalities(folder_of(tmp_path / "still", *still)) == one
    assert guess_modalities(folder_of(tmp_path / "mixed", *still, clip)) == several
    assert guess_modalities(folder_of(tmp_path / "moving", moving)) == several


def test_what_is_no_file_is_said_to_be_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nowhere.mp4")
    lips = {"kind": "features", "column": "clip", "dim": 3, "max_length": 4}
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    config = DataConfig(
        manifest="x.csv", modalities={"video": {"kind": "video", "column": "clip", "size": 16}, "lips": lips}
    )
    expected = {
        "/dev/null": "expected a media file, got a device",
        str(tmp_path): "expected a media file, got a folder",
        str(tmp_path / "pipe.jpg"): "expected a media file, got a pipe, which cannot be read twice",
        str(tmp_path / "link.mp4"): f"a link to '{tmp_path / 'nowhere.mp4'}', where there is no file",
        str(tmp_path / "nowhere.mp4"): "there is no such file",
        str(tmp_path / "pipe.npy"): "expected a feature file, got a pipe, which cannot be read twice",
        str(tmp_path / "folder.npy"): "expected a feature file, got a folder",
    }
    for path, reason in expected.items():
        sample = FileDataset(config, [path])[0]
        assert isinstance(sample, BadSample)
        assert (sample.file, sample.reason) == (path, reason)
