"""Shards of clips whose frames are not steady: the same frames as from the files, by time."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_shards import describe

from locomt.data import DataConfig, ManifestDataset, Sample
from locomt.data.media.frame_times import spread
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from media_clips import write_video
from timed_clips import UNEVEN, grey, milliseconds, shades, shown


@pytest.fixture
def slow(tmp_path: Path) -> Any:
    """The configuration of a folder with a steady clip and one that is not, and what it gives."""
    write_video(tmp_path / "a.mkv", grey(30), rate=10)
    write_video(tmp_path / "b.mkv", grey(39), rate=30, times=milliseconds(UNEVEN))
    (tmp_path / "m.csv").write_text("id,split,label,clip\n0,train,a,a.mkv\n1,train,a,b.mkv\n")
    video = {"kind": "video", "column": "clip", "frames": 8, "size": 32}

    def config(manifest: Path, **changes: Any) -> DataConfig:
        return DataConfig(manifest=str(manifest), modalities={"video": video}, **changes)

    return config


def frames_of(config: DataConfig) -> list[list[int]]:
    dataset = ManifestDataset(config, "train", ["a"])
    samples = [dataset[0], dataset[1]]
    assert all(isinstance(sample, Sample) for sample in samples), samples
    return [shades(sample.inputs["video"]) for sample in samples]


@pytest.mark.parametrize(("fps", "crop"), [(None, None), (0, None), (0, 2.0), (0, 5.0)])
def test_shards_hold_the_frames_that_the_files_give(
    fps: float | None, crop: float | None, slow: Any, tmp_path: Path
) -> None:
    prepare(slow(tmp_path / "m.csv"), tmp_path / "shards", Storage(images="png", fps=fps))
    wanted = frames_of(slow(tmp_path / "m.csv", crop=crop))
    if crop is None:
        assert wanted == [spread(30, 8), shown(UNEVEN, 10, 8)]
    assert frames_of(slow(tmp_path / "shards" / "shards.json", crop=crop)) == wanted


def test_shards_with_some_frames_a_second_give_those_that_are_near_in_time(slow: Any, tmp_path: Path) -> None:
    prepare(slow(tmp_path / "m.csv"), tmp_path / "shards", Storage(images="png", fps=4))
    found = frames_of(slow(tmp_path / "shards" / "shards.json", crop=0.9))[1]
    wanted = frames_of(slow(tmp_path / "m.csv", crop=0.9))[1]
    apart = [abs(float(UNEVEN[a] - UNEVEN[b])) for a, b in zip(found, wanted, strict=True)]
    assert max(apart) <= 0.25


@pytest.mark.parametrize("fps", [None, 0])
def test_shards_without_an_end_still_load(fps: float | None, slow: Any, tmp_path: Path) -> None:
    """Those which were made before it was stored, and before any stream could be asked for."""
    prepare(slow(tmp_path / "m.csv"), tmp_path / "shards", Storage(images="png", fps=fps))
    wanted = frames_of(slow(tmp_path / "shards" / "shards.json"))[0]

    def older(document: Any) -> Any:
        part = document["parts"]["video"]
        document["parts"]["video"] = {k: v for k, v in part.items() if k not in ("end", "unit", "chosen")}
        return document

    describe(tmp_path / "shards", older)
    index = json.loads((tmp_path / "shards" / "shards.json").read_text())
    del index["modalities"]["video"]["stream"]
    (tmp_path / "shards" / "shards.json").write_text(json.dumps(index))
    assert frames_of(slow(tmp_path / "shards" / "shards.json"))[0] == wanted == spread(30, 8)
