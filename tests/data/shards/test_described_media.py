"""Shards of clips whose description says what cannot be: a bad sample, whatever stands in it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_shards import describe

from locomt.data import BadSample, DataConfig, ManifestDataset, Sample
from locomt.data.errors import ShardError
from locomt.data.shards.index import read_index
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from media_clips import add_audio, add_video, pictures, tone, write_clip

MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 2, "size": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 0.5, "rate": 8000, "mels": 16},
}
NUMBERS = [math.nan, math.inf, -math.inf, 1e300, 10**30, 2**63, -1, 0]
OTHERS = ["x", None, [], {}, [1], [[]], [math.nan, math.nan], [None], {"a": 1}]
FIELDS = {
    "video": ("total", "span", "places", "seconds", "offset", "members"),
    "audio": ("scale", "begin", "span", "offset", "members"),
}


def config_of(manifest: Path, modality: str, crop: float | None = None) -> DataConfig:
    return DataConfig(manifest=str(manifest), modalities={modality: MODALITIES[modality]}, crop=crop)


@pytest.fixture
def shards(tmp_path: Path) -> Callable[[str], Path]:
    def make(modality: str) -> Path:
        write_clip(
            tmp_path / "a.mkv",
            lambda output: add_video(output, pictures(25, 16, 16)),
            lambda output: add_audio(output, tone(1, 8000)[None], 8000),
        )
        (tmp_path / "m.csv").write_text("id,split,label,clip\n1,train,a,a.mkv\n")
        prepare(config_of(tmp_path / "m.csv", modality), tmp_path / "shards", Storage(fps=0))
        return tmp_path / "shards"

    return make


@pytest.mark.parametrize("modality", MODALITIES)
def test_numbers_that_cannot_be(modality: str, shards: Callable[[str], Path]) -> None:
    folder = shards(modality)
    original: list[Any] = []

    def spoilt(field: str, value: Any) -> Callable[[Any], Any]:
        def change(document: Any) -> Any:
            original[:] = original or [document["parts"][modality]]
            document["parts"][modality] = {**original[0], field: value}
            return document

        return change

    refused = 0
    for field in FIELDS[modality]:
        for value in (*NUMBERS, *OTHERS, *([0, number] for number in NUMBERS), *([number, 1] for number in NUMBERS)):
            describe(folder, spoilt(field, value))
            for crop in (None, 0.3):
                sample = ManifestDataset(config_of(folder / "shards.json", modality, crop), "train", ["a"])[0]
                refused += isinstance(sample, BadSample)
                if isinstance(sample, Sample):
                    assert sample.inputs[modality].isfinite().all()
                else:
                    assert ".tar" in sample.file
    assert refused > 200
    describe(folder, lambda document: {**document, "parts": {modality: original[0]}})
    assert isinstance(ManifestDataset(config_of(folder / "shards.json", modality), "train", ["a"])[0], Sample)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"version": ' + "9" * 5000 + "}", '{"version": 1, "shards": {}}'])
def test_an_index_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "shards.json").write_text(text)
    with pytest.raises(ShardError, match="not what `locomt prepare` writes"):
        read_index(tmp_path / "shards.json")
