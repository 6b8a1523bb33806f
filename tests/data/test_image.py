"""Kind `image`: one picture a sample, out of picture files and clips, from manifests, folders and shards alike."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from locomt.data import (
    BadSample,
    DataConfig,
    FileDataset,
    ImageSource,
    ManifestDataset,
    Sample,
    collate,
    label_list,
    read_frames,
)
from locomt.data.guess import guess_modalities
from locomt.data.shards.index import read_index
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from locomt.nn.config import ConfigError
from media_clips import pictures, tone, write_audio, write_video

IMAGE: dict[str, Any] = {"kind": "image", "column": "clip", "size": 16, "patch": 8}
NAMES = ("a.jpg", "b.png", "c.webp", "d.mp4", "e.gif")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, the first of which is stored lying on its side, a clip and an animation."""
    first, second, third = map(Image.fromarray, pictures(3, 40, 56))
    exif = Image.Exif()
    exif[0x0112] = 6
    first.save(tmp_path / "a.jpg", exif=exif)
    second.save(tmp_path / "b.png")
    third.save(tmp_path / "c.webp")
    write_video(tmp_path / "d.mp4", pictures(9), "libx264")
    shades = [Image.fromarray(np.full((20, 24, 3), shade, np.uint8)) for shade in (0, 80, 160)]
    shades[0].save(tmp_path / "e.gif", save_all=True, append_images=shades[1:], duration=[100, 100, 1000])
    return tmp_path


def config(folder: Path, *names: str, manifest: Path | None = None, **changes: Any) -> DataConfig:
    lines = [f"{n},train,{'even' if n % 2 == 0 else 'odd'},{name}" for n, name in enumerate(names)]
    (folder / "m.csv").write_text("\n".join(["id,split,label,clip", *lines, ""]))
    return DataConfig(manifest=str(manifest or folder / "m.csv"), **{"modalities": {"photo": IMAGE}, **changes})


def photos(data: DataConfig) -> list[torch.Tensor]:
    samples = list(ManifestDataset(data, "train", ["even", "odd"]))
    assert all(isinstance(sample, Sample) for sample in samples), samples
    return [sample.inputs["photo"] for sample in samples if isinstance(sample, Sample)]


def test_a_sample_is_the_picture_or_the_middle_of_the_clip(folder: Path) -> None:
    found = photos(config(folder, *NAMES))
    for name, photo in zip(NAMES, found, strict=True):
        assert (photo.shape, photo.dtype) == ((1, 3, 16, 16), torch.uint8)
        assert torch.equal(photo, read_frames(folder / name, 1, size=16))
    upright = np.rot90(np.array(Image.open(folder / "a.jpg")), -1)
    square = torch.from_numpy(upright[8:-8].copy()).permute(2, 0, 1)[None]
    wanted = torch.nn.functional.interpolate(square, (16, 16), mode="bilinear", antialias=True)
    assert torch.equal(found[0], wanted)
    assert torch.equal(found[3], read_frames(folder / "d.mp4", 9, size=16)[4:5])
    assert found[4].unique().tolist() == [160]  # what is shown after 0.6 of 1.2 s


def test_a_batch_has_one_step_of_each(folder: Path) -> None:
    data = config(folder, "a.jpg", "b.png")
    labels = label_list(data)
    batch = collate(list(ManifestDataset(data, "train", labels)), config=data)
    assert batch.inputs["photo"].shape == (2, 1, 3, 16, 16)
    assert (batch.lengths["photo"].tolist(), batch.labels.tolist()) == ([1, 1], [0, 1])
    assert data.modalities["photo"].max_steps == 1


@pytest.mark.parametrize("fps", [None, 0])
@pytest.mark.parametrize("crop", [None, 0.1])
def test_shards_give_what_the_files_give(folder: Path, crop: float | None, fps: float | None) -> None:
    """A crop in time takes the same picture, so that none needs more frames than the one."""
    data = config(folder, *NAMES, crop=crop, clips=3 if crop else 1)
    report = prepare(data, folder / "shards", Storage(images="png", fps=fps))
    assert (report["whole"], report["failed"]) == (len(NAMES), [])
    index = folder / "shards" / "shards.json"
    described = {"kind": "image", "column": "clip", "size": 16, "stream": None, "box": None}
    assert read_index(index)["modalities"] == {"photo": described}
    stored = photos(config(folder, *NAMES, manifest=index, crop=crop))
    for ours, theirs in zip(stored, photos(data), strict=True):
        assert torch.equal(ours, theirs)
    sample = ManifestDataset(data, "train", ["even", "odd"], clips=data.clips)[3]
    assert isinstance(sample, Sample)
    assert all(torch.equal(clip["photo"], stored[3]) for clip in sample.clips)


def test_what_the_shards_lack_is_refused(folder: Path) -> None:
    prepare(config(folder, "b.png"), folder / "shards", Storage())
    index = folder / "shards" / "shards.json"
    for changes, message in (
        ({"size": 24}, "photo.size is 24, but the shards of .* were prepared with 16; prepare them again, or"),
        ({"stream": 1}, "photo.stream is 1, but"),
        ({"box": [0, 0, 1, 0.5]}, r"photo.box is \[0, 0, 1, 0.5\], but the shards of .* were prepared with None"),
        ({"kind": "video"}, "photo.kind is 'video', but the shards of .* were prepared with 'image'"),
    ):
        data = config(folder, "b.png", manifest=index, modalities={"photo": {**IMAGE, **changes}})
        with pytest.raises(ConfigError, match=message):
            ManifestDataset(data, "train", ["even"])
    assert photos(config(folder, "b.png", manifest=index, modalities={"photo": {**IMAGE, "patch": 4}}))


def test_a_folder_of_pictures_is_read_as_it_is_guessed(folder: Path) -> None:
    for label in ("even", "odd"):
        (folder / "classes" / "train" / label).mkdir(parents=True)
        for name in NAMES[:3]:
            shutil.copy(folder / name, folder / "classes" / "train" / label / name)
    modalities = guess_modalities(folder / "classes")
    assert modalities == {"image": {"kind": "image", "column": "clip"}}
    data = DataConfig(manifest=str(folder / "classes"), modalities=modalities)
    dataset = ManifestDataset(data, "train", label_list(data))
    assert len(dataset) == 6
    assert torch.equal(dataset[0].inputs["image"], read_frames(folder / "a.jpg", 1, size=224))


def test_files_without_a_manifest(folder: Path) -> None:
    sound = write_audio(folder / "sound.wav", tone(1, 16000)[None], 16000)
    both = {"photo": IMAGE, "sound": {"kind": "audio", "column": "clip", "seconds": 1}}
    data = DataConfig(manifest="x.csv", modalities=both)
    items = [folder / "a.jpg", sound, {"photo": folder / "d.mp4", "sound": sound}, {"photo": sound}]
    picture, heard, named, wrong = FileDataset(data, items)
    assert isinstance(picture, Sample)
    assert (list(picture.inputs), list(picture.missing)) == (["photo"], ["sound"])
    assert isinstance(heard, Sample)
    assert (list(heard.inputs), list(heard.missing)) == (["sound"], ["photo"])
    assert isinstance(named, Sample)
    assert torch.equal(named.inputs["photo"], read_frames(folder / "d.mp4", 1, size=16))
    assert isinstance(wrong, BadSample)
    assert "there is no video stream" in wrong.reason


def test_a_file_without_a_picture_is_bad_or_missing(folder: Path) -> None:
    write_audio(folder / "sound.wav", tone(1, 16000)[None], 16000)
    for on_no_stream, expected in (("bad", BadSample), ("missing", Sample)):
        both = {"photo": {**IMAGE, "on_no_stream": on_no_stream}, "sound": {"kind": "audio", "column": "clip"}}
        data = config(folder, "sound.wav", modalities=both)
        assert isinstance(ManifestDataset(data, "train", ["even"])[0], expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 20}, "size 20 is no multiple of its patch 8"),
        ({"stream": -1}, "stream: expected 0 or more, got -1"),
        ({"on_no_stream": "skip"}, "on_no_stream: expected one of"),
        ({"frames": 2}, "unknown field of kind image: 'frames'"),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        config(folder, "a.jpg", modalities={"photo": {**IMAGE, **fields}})


def test_a_picture_has_no_place_in_time_and_no_token_a_step(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a modality with a time axis .*, got image"):
        config(folder, "a.jpg", task="temporal", seconds=2, step=0.5)
    with pytest.raises(ConfigError, match=r"modality 'photo' is image; only .* have a token a step"):
        config(folder, "a.jpg", steps=("photo",))
    timed = {"photo": IMAGE, "video": {"kind": "video", "column": "clip", "size": 16}}
    data = config(folder, "d.mp4", modalities=timed, task="temporal", seconds=2, step=0.5)
    assert list(data.pace) == ["video"]


def test_its_tokens_are_those_of_one_picture() -> None:
    spec = ImageSource(column="clip", size=32, patch=8).spec()
    assert (spec.grid[-2:], spec.max_steps) == ((4, 4), 1)
