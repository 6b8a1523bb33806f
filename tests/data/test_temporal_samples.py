"""Samples of a temporal task: what of a clip they hold, which time steps are scored, and what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from locomt.data import BadSample, DataConfig, FileDataset, ManifestDataset, Sample, collate
from locomt.data.media.crop import moments
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from locomt.nn.config import ConfigError
from timed_clips import MODALITIES, begin_of_sound, times_of_frames, write_timed

HEADER = "id,split,label,clip,lips,title\n"
LIPS: dict[str, Any] = {"kind": "features", "column": "lips", "dim": 2, "max_length": 8}
TITLE: dict[str, Any] = {"kind": "text", "column": "title", "max_length": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 6 s, one of 1.6 s, one of 6 s with sound from 0.75 s on, and features of 3 of 8 vectors."""
    path = tmp_path_factory.mktemp("events")
    write_timed(path / "long.mkv", 6)
    write_timed(path / "short.mkv", 1.6)
    write_timed(path / "late.mkv", 6, late=0.75)
    np.save(path / "lips.npy", np.ones((3, 2), np.float32))
    rows = (
        "long,train,a@0-1;b@3.5-4,long.mkv,,\n"
        "short,train,a@1-1.5,short.mkv,,\n"
        "late,train,;,late.mkv,,\n"
        "lips,train,b@1-2,,lips.npy,\n"
        "both,train,b@1-2,short.mkv,lips.npy,a title\n"
        "title,train,b@1-2,,,a title\n"
    )
    (path / "clips.csv").write_text(HEADER + rows)
    return path


def config(folder: Path, **changes: Any) -> DataConfig:
    fields = {"task": "temporal", "seconds": 4, "step": 0.5, "modalities": {**MODALITIES, "lips": LIPS, "title": TITLE}}
    return DataConfig(**{"manifest": str(folder / "clips.csv"), **fields, **changes})


def samples(made: DataConfig) -> list[Sample | BadSample]:
    dataset = ManifestDataset(made, "train", ["a", "b"])
    return [dataset[row] for row in range(len(dataset))]


def test_pictures_and_sound_are_those_of_the_first_seconds_at_a_steady_pace(folder: Path) -> None:
    long, short, late, *_ = samples(config(folder))
    assert isinstance(long, Sample)
    assert isinstance(short, Sample)
    assert isinstance(late, Sample)
    assert times_of_frames(long.inputs["video"]) == [0.5, 1.5, 2.5, 3.5]
    assert times_of_frames(short.inputs["video"]) == [0.5, 1.5]
    assert [len(sample.inputs["audio"]) for sample in (long, short, late)] == [400, 160, 400]
    beyond = FileDataset(config(folder, seconds=6), [folder / "long.mkv"])[0]
    assert isinstance(beyond, Sample)
    whole = beyond.inputs["audio"]
    assert begin_of_sound(long.inputs["audio"], whole) == pytest.approx(0, abs=0.02)
    assert begin_of_sound(late.inputs["audio"][80:], whole) == pytest.approx(0.8, abs=0.02)
    silence, heard = late.inputs["audio"][:70], late.inputs["audio"][80:]
    assert silence.max() < heard.amax(dim=1).min()  # before it begins


def test_time_steps_beyond_the_end_of_a_sample_are_not_scored(folder: Path) -> None:
    made = config(folder)
    *good, lips, both, title = samples(made)
    assert isinstance(title, BadSample)
    assert title.reason == "the events belong to the time of video and audio and lips, which the row lacks"
    batch = collate([*good, lips, both, title], config=made)
    assert batch.labels.shape == (5, 8, 2)
    assert (~batch.labels[..., 0].isnan()).sum(dim=1).tolist() == [8, 4, 8, 3, 4]  # 1.6 s of sound; 3 of 8 vectors
    assert torch.equal(batch.labels[0].nonzero(), torch.tensor([[0, 0], [1, 0], [7, 1]]))
    assert batch.labels[1, :4, 0].tolist() == [0, 0, 1, 0]
    assert not batch.labels[2].any()


@pytest.mark.parametrize("cache", [False, True])
def test_caching_changes_nothing(folder: Path, cache: bool) -> None:
    first, other = (samples(config(folder, cache=cache, seconds=seconds))[0] for seconds in (4, 5))
    assert isinstance(first, Sample)
    assert isinstance(other, Sample)
    assert times_of_frames(first.inputs["video"]) == [0.5, 1.5, 2.5, 3.5]
    assert times_of_frames(other.inputs["video"]) == [0.6, 1.8, 3.1, 4.3]


def test_shards_give_what_the_files_give(folder: Path, tmp_path: Path) -> None:
    made = config(folder)
    with pytest.raises(ConfigError, match=re.escape("data.seconds takes frames from anywhere in a clip: say by --fps")):
        prepare(made, tmp_path / "none", Storage())
    prepare(made, tmp_path / "shards", Storage(fps=0, images="png", sound="npy"))
    stored = samples(config(folder, manifest=str(tmp_path / "shards" / "shards.json")))
    for ours, theirs in zip(samples(made), stored, strict=True):
        if isinstance(ours, Sample):
            assert isinstance(theirs, Sample)
            assert torch.equal(ours.label, theirs.label)
            assert all(torch.equal(tensor, theirs.inputs[name]) for name, tensor in ours.inputs.items())
        else:
            assert isinstance(theirs, BadSample)


def test_a_file_without_a_time_axis_is_refused(folder: Path) -> None:
    sample = FileDataset(config(folder), [{"title": "some words"}])[0]
    assert isinstance(sample, BadSample)
    assert sample.reason == "expected one or more of video, audio, lips, which have a time axis"


def test_moments_of_a_file() -> None:
    assert [crop.begin for crop in moments((1, 9), 4, 4)] == [1.5, 2.5, 3.5, 4.5]
    assert [len(moments((0, end), 4, 4)) for end in (0, 0.4, 2.4, 2.6, 9)] == [1, 1, 2, 3, 4]
    frames = [0.1 * n for n in range(80)]
    assert [crop.places(80, frames) for crop in moments((0, 8), 4, 4)] == [range(n, n + 1) for n in (5, 15, 25, 35)]
    assert [crop.places(80, None) for crop in moments((0, 8), 4, 4)] == [range(n, n + 1) for n in (5, 15, 25, 35)]
    assert moments((0, 8), 4, 3)[1].places(10, [0, 1, 2.5, *range(3, 10)]) == range(1, 2)  # at 2 s that of 1 s is shown
