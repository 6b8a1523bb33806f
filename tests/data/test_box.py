"""A box of the picture: what is read is what a file gives that was cropped by hand, from files and shards alike."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from locomt.data import DataConfig, FileDataset, ImageSource, ManifestDataset, Sample, VideoSource, read_frames
from locomt.data.media import torchcodec
from locomt.data.media.box import part_of
from locomt.data.media.frames import fitted
from locomt.data.shards.prepare import prepare
from locomt.nn.config import ConfigError
from media_clips import pictures, write_video
from shard_clips import EXACT

BOXES = [(0.25, 0.5, 0.75, 1.0), (0, 0, 1, 0.5), (0.1, 0.2, 0.33, 0.9), (0.9, 0.8, 1, 1)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [None, 16])
@pytest.mark.parametrize("rotation", [0, 90])
def test_a_box_is_what_is_cropped_by_hand(
    tmp_path: Path, box: Sequence[float], size: int | None, rotation: int
) -> None:
    """Of the frames as they are shown: 48 x 64, turned or not."""
    path = write_video(tmp_path / "a.mov", pictures(6), "png", rotation=rotation)
    shown = read_frames(path, 3)
    height, width = shown.shape[2:]
    assert (height, width) == ((48, 64) if not rotation else (64, 48))
    left, top, right, bottom = (round(part * side) for part, side in zip(box, (width, height) * 2, strict=True))
    wanted = shown[:, :, top:bottom, left:right]
    by_hand = write_video(tmp_path / "cropped.mov", [np.ascontiguousarray(image) for image in arrays(wanted)], "png")
    found = read_frames(path, 3, size=size, box=box)
    if size is None:
        assert torch.equal(found, wanted)
    assert torch.equal(found, read_frames(by_hand, 3, size=size)[[0, 1, 2]])


def arrays(frames: torch.Tensor) -> list[np.ndarray]:
    return [frame.permute(1, 2, 0).numpy() for frame in frames]


def test_pictures_have_boxes_too(tmp_path: Path) -> None:
    image = pictures(1)[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image[24:48, 16:48]).save(tmp_path / "cropped.png")
    source = ImageSource(column="c", size=16, box=(0.25, 0.5, 0.75, 1))
    assert torch.equal(source.load(tmp_path / "a.png"), ImageSource(column="c", size=16).load(tmp_path / "cropped.png"))


def test_all_of_a_picture_is_a_box(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", pictures(6))
    assert torch.equal(read_frames(path, 4, size=16, box=(0, 0, 1, 1)), read_frames(path, 4, size=16))


@given(
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    x=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    y=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_box_has_a_pixel_and_none_outside(
    size: tuple[int, int], x: tuple[float, float], y: tuple[float, float]
) -> None:
    height, width = size
    rows, columns = part_of(height, width, (min(x), min(y), max(x), max(y)))
    for part, first, last, side in ((rows, min(y), max(y), height), (columns, min(x), max(x), width)):
        assert 0 <= part.start < part.stop <= side
        assert abs(part.start - first * side) <= 1
        assert abs(part.stop - last * side) <= 0.5 or part.stop == part.start + 1


@pytest.mark.parametrize(
    "box", [[0, 0, 1], [0.5, 0, 0.5, 1], [0, 1, 1, 0], [-0.1, 0, 1, 1], [0, 0, 1, 1.1], [], [0, 0, 88, 60]]
)
def test_what_is_no_box_is_refused(box: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"^box: expected \[left, top, right, bottom\] in parts of the picture"):
        VideoSource(column="c", box=box)  # type: ignore[arg-type]


def test_files_shards_and_prediction_see_the_same_box(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", pictures(8))
    (tmp_path / "clips.csv").write_text("id,split,label,clip\na,train,x,a.mkv\n")

    def config(manifest: Path, box: list[float] | None) -> DataConfig:
        video: dict[str, Any] = {"kind": "video", "column": "clip", "frames": 3, "size": 16, "box": box}
        still = {name: value for name, value in video.items() if name != "frames"} | {"kind": "image"}
        return DataConfig(manifest=str(manifest), modalities={"video": video, "still": still})

    def read(dataset: Any) -> dict[str, torch.Tensor]:
        sample = dataset[0]
        assert isinstance(sample, Sample)
        return sample.inputs

    box, index = [0.25, 0.5, 0.75, 1], tmp_path / "shards" / "shards.json"
    boxed = config(tmp_path / "clips.csv", box)
    prepare(boxed, index.parent, EXACT)
    seen = read(ManifestDataset(boxed, "train", ["x"]))
    for other in (ManifestDataset(config(index, box), "train", ["x"]), FileDataset(boxed, tmp_path / "a.mkv")):
        found = read(other)
        assert all(torch.equal(found[name], seen[name]) for name in seen)
    assert not torch.equal(
        read(ManifestDataset(config(tmp_path / "clips.csv", None), "train", ["x"]))["video"], seen["video"]
    )
    with pytest.raises(
        ConfigError, match=r"video.box is None, but the shards of .* were prepared with \[0.25, 0.5, 0.75"
    ):
        ManifestDataset(config(index, None), "train", ["x"])


def test_shards_that_were_made_before_there_were_boxes(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", pictures(8))
    (tmp_path / "clips.csv").write_text("id,split,label,clip\na,train,x,a.mkv\n")
    video = {"video": {"kind": "video", "column": "clip", "frames": 3, "size": 16}}
    prepare(DataConfig(manifest=str(tmp_path / "clips.csv"), modalities=video), tmp_path / "shards", EXACT)
    index = tmp_path / "shards" / "shards.json"
    known = json.loads(index.read_text())
    del known["modalities"]["video"]["box"]
    index.write_text(json.dumps(known))
    sample = ManifestDataset(DataConfig(manifest=str(index), modalities=video), "train", ["x"])[0]
    assert isinstance(sample, Sample)
    assert torch.equal(sample.inputs["video"], read_frames(tmp_path / "a.mkv", 3, size=16))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [None, 16])
def test_decoders_take_the_same_box(box: Sequence[float], size: int | None) -> None:
    """Of frames that torchcodec has decoded, and turned upright, and of those of PyAV."""
    images = pictures(3)
    decoded = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    wanted = torch.stack([fitted(image, size, box=box) for image in images])
    assert torch.equal(torchcodec._fitted(decoded, size, box), wanted)
