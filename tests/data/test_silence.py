"""Sound of which nothing is heard, and streams that a clip lacks: said to be so, and what becomes of the sample."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from locomt.data import (
    BadSample,
    DataConfig,
    FileDataset,
    ManifestDataset,
    NoStreamError,
    Sample,
    SilentError,
    collate,
    label_list,
    read_audio,
)
from locomt.data.media.read import MediaFiles
from locomt.data.shards.prepare import prepare
from locomt.nn.config import ConfigError
from media_clips import add_audio, add_video, pictures, tone, write_audio, write_clip, write_video

RATE = 16000
MUSIC = tone(2, RATE) * (1 + np.sin(2 * np.pi * 3 * np.arange(2 * RATE) / RATE)) / 2
NOISE = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
VIDEO: dict[str, Any] = {"kind": "video", "column": "clip", "frames": 2, "size": 16}
AUDIO: dict[str, Any] = {"kind": "audio", "column": "clip", "seconds": 2, "mels": 16}
CANCEL = "channels cancel: they are of opposite phase"


def silence_of(path: Path) -> str | None:
    with MediaFiles() as files:
        return files.open(path).read_audio(RATE).silence


@pytest.mark.parametrize(
    ("channels", "codec", "suffix"),
    [
        *(([MUSIC, -MUSIC], codec, "wav") for codec in ("pcm_s16le", "pcm_u8", "pcm_s32le", "pcm_f32le", "pcm_f64le")),
        ([MUSIC, -MUSIC], "flac", "flac"),
        ([MUSIC, -MUSIC], "mp2", "mp2"),
        ([MUSIC * 0.05, -MUSIC * 0.05], "pcm_s16le", "wav"),
        ([NOISE, -NOISE + NOISE * 1e-3], "pcm_f32le", "wav"),
        ([MUSIC, NOISE, -MUSIC, -NOISE, MUSIC, -MUSIC], "pcm_s16le", "wav"),
    ],
)
def test_channels_of_opposite_phase_cancel(channels: list[np.ndarray], codec: str, suffix: str, tmp_path: Path) -> None:
    path = write_audio(tmp_path / f"a.{suffix}", np.stack(channels), RATE, codec)
    assert f"its {len(channels)} {CANCEL}" in str(silence_of(path))
    bad = ManifestDataset(manifest(path, AUDIO), "train", ["a"])[0]
    assert isinstance(bad, BadSample)
    assert CANCEL in bad.reason


@pytest.mark.parametrize(
    "channels",
    [
        [MUSIC, -0.9 * MUSIC],
        [MUSIC, -np.roll(MUSIC, 8)],
        [MUSIC + NOISE * 0.3, -MUSIC + NOISE * 0.3],
        [np.where(np.arange(2 * RATE) < RATE, MUSIC, NOISE), np.where(np.arange(2 * RATE) < RATE, -MUSIC, NOISE)],
        [MUSIC, np.zeros(2 * RATE)],
        [NOISE * 1e-4, NOISE * 1e-4],
    ],
    ids=["weaker", "later", "with a middle", "for a while", "one side", "quiet"],
)
def test_what_cancels_in_part_is_ordinary_stereo(channels: list[np.ndarray], tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", np.stack(channels), RATE, "pcm_f32le")
    assert silence_of(path) is None
    assert isinstance(ManifestDataset(manifest(path, AUDIO), "train", ["a"])[0], Sample)


@pytest.mark.parametrize(
    ("value", "codec", "reason"),
    [
        (0.0, "pcm_s16le", "all-zero audio throughout"),
        (0.0, "pcm_u8", "all-zero audio throughout"),
        (1e-9, "pcm_f32le", "all-zero audio throughout"),
        (0.25, "pcm_s16le", "audio that is 0.25 throughout: nothing sounds"),
        (-0.5, "pcm_f32le", "audio that is -0.5 throughout: nothing sounds"),
    ],
)
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_one_value_throughout_is_silence(value: float, codec: str, reason: str, rate: int, tmp_path: Path) -> None:
    """At its own rate: resampled, its ends would ring."""
    path = write_audio(tmp_path / "a.wav", np.full((2, rate), value), rate, codec)
    assert silence_of(path) == reason


def manifest(path: Path, audio: dict[str, Any], **modalities: dict[str, Any]) -> DataConfig:
    rows = "id,split,label,clip\n1,train,a," + path.name + "\n"
    path.with_name("m.csv").write_text(rows)
    return DataConfig(manifest=str(path.with_name("m.csv")), modalities={**modalities, "audio": audio})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips that are whole, silent, mute, without pictures, and empty of all."""

    def sound(samples: np.ndarray) -> Any:
        return lambda output: add_audio(output, samples, RATE)

    def shown(output: Any) -> Any:
        return add_video(output, pictures(10, 32, 32))

    write_clip(tmp_path / "whole.mkv", shown, sound(MUSIC[None]))
    write_clip(tmp_path / "silent.mkv", shown, sound(0 * MUSIC[None]))
    write_clip(tmp_path / "cancels.mkv", shown, sound(np.stack([MUSIC, -MUSIC])))
    write_video(tmp_path / "mute.mkv", pictures(10, 32, 32))
    write_audio(tmp_path / "blind.wav", MUSIC[None], RATE)
    write_audio(tmp_path / "nothing.wav", 0 * MUSIC[None], RATE)
    (tmp_path / "broken.mkv").write_bytes((tmp_path / "whole.mkv").read_bytes()[:3000])
    names = ("whole.mkv", "silent.mkv", "cancels.mkv", "mute.mkv", "blind.wav", "nothing.wav", "broken.mkv")
    rows = "".join(f"{name},train,{'ab'[n % 2]},{name}\n" for n, name in enumerate(names))
    (tmp_path / "m.csv").write_text("id,split,label,clip\n" + rows)
    return tmp_path


def config(folder: Path, silent: str = "missing", stream: str = "missing", **changes: Any) -> DataConfig:
    modalities = {
        "video": {**VIDEO, "on_no_stream": stream},
        "audio": {**AUDIO, "on_silent": silent, "on_no_stream": stream},
    }
    return DataConfig(**{"manifest": str(folder / "m.csv"), "modalities": modalities, **changes})


def found(made: DataConfig) -> dict[str, list[str] | str]:
    """For each sample its modalities, or why it is bad."""
    dataset = ManifestDataset(made, "train", label_list(made))
    samples = [dataset[n] for n in range(len(dataset))]
    return {s.id: s.reason if isinstance(s, BadSample) else list(s.inputs) for s in samples}


BOTH, NO_AUDIO, NO_VIDEO = ["video", "audio"], "there is no audio stream", "there is no video stream"
ZERO = "all-zero audio throughout"


@pytest.mark.parametrize("shards", [False, True])
def test_training_leaves_out_what_the_recipe_calls_missing(folder: Path, shards: bool, tmp_path: Path) -> None:
    """Whatever it said when the shards were made: they keep what each file lacks, and the recipe that reads decides."""
    made = {key: config(folder, *key) for key in [("missing", "missing"), ("bad", "missing"), ("missing", "bad")]}
    strict = config(folder, "bad", "bad")
    if shards:
        for key, one in [*made.items(), (("bad", "bad"), strict)]:
            prepare(one, tmp_path / "out", workers=0)  # the same folder: it is no other recipe
            assert json.loads((tmp_path / "out" / "report.json").read_text())["samples"] == 7, key
        index = str(tmp_path / "out" / "shards.json")
        made = {key: config(folder, *key, manifest=index) for key in made}
        strict = config(folder, "bad", "bad", manifest=index)
    lenient = found(made["missing", "missing"])
    assert lenient["whole.mkv"] == BOTH
    assert [lenient[f"{name}.mkv"] for name in ("silent", "cancels", "mute")] == [["video"]] * 3
    assert lenient["blind.wav"] == ["audio"]
    assert lenient["nothing.wav"] == f"{NO_VIDEO} that can be decoded; {ZERO}"
    assert "truncated" in lenient["broken.mkv"]
    silence, streams = found(made["missing", "bad"]), found(made["bad", "missing"])
    assert (silence["silent.mkv"], silence["cancels.mkv"]) == (["video"], ["video"])
    assert NO_AUDIO in silence["mute.mkv"]
    assert NO_VIDEO in silence["blind.wav"]
    assert (streams["silent.mkv"], streams["mute.mkv"], streams["blind.wav"]) == (ZERO, ["video"], ["audio"])
    assert CANCEL in streams["cancels.mkv"]
    for name, reason in (
        ("silent.mkv", ZERO),
        ("mute.mkv", NO_AUDIO),
        ("blind.wav", NO_VIDEO),
        ("cancels.mkv", CANCEL),
    ):
        assert reason in found(strict)[name]


def test_a_batch_names_them_and_says_why(folder: Path) -> None:
    made = config(folder)
    dataset = ManifestDataset(made, "train", ["a", "b"])
    samples = [dataset[n] for n in range(len(dataset))]
    batch = collate(samples, config=made)
    assert batch.missing == {"audio": batch.ids[1:4], "video": batch.ids[4:]}
    assert batch.lengths["audio"].tolist() == [200, 0, 0, 0, 200]
    assert batch.lengths["video"].tolist() == [2, 2, 2, 2, 0]
    assert isinstance(samples[1], Sample)
    assert samples[1].missing == {"audio": ZERO}
    pictures_alone = DataConfig(manifest=str(folder / "m.csv"), modalities={"video": VIDEO})
    assert torch.equal(
        ManifestDataset(pictures_alone, "train", ["a", "b"])[1].inputs["video"], samples[1].inputs["video"]
    )


def test_prediction_takes_them_for_missing_whatever_the_recipe_says(folder: Path) -> None:
    made = config(folder, "bad", "bad")
    names = ("whole.mkv", "silent.mkv", "cancels.mkv", "mute.mkv", "blind.wav")
    for name, lacks in zip(
        names, ({}, {"audio": ZERO}, {"audio": CANCEL}, {"audio": NO_AUDIO}, {"video": NO_VIDEO}), strict=True
    ):
        sample = FileDataset(made, [folder / name])[0]
        assert isinstance(sample, Sample), name
        assert sample.missing.keys() == lacks.keys()
        assert sample.inputs.keys() == {"video", "audio"} - lacks.keys()
        for modality, reason in lacks.items():
            assert reason in sample.missing[modality]
    nothing = FileDataset(made, [folder / "nothing.wav"])[0]
    assert isinstance(nothing, BadSample)
    assert nothing.reason == f"{NO_VIDEO} that can be decoded; {ZERO}"
    named = FileDataset(made, [{"video": folder / "mute.mkv", "audio": folder / "silent.mkv"}])[0]
    assert isinstance(named, Sample)
    assert named.missing == {"audio": ZERO}


def test_the_report_of_prepare_counts_samples(folder: Path, tmp_path: Path) -> None:
    """A clip of which pictures and sound fail alike is one sample; what the recipe calls missing is no failure."""
    strict = prepare(config(folder, "bad", "bad"), tmp_path / "out")
    assert (strict["samples"], strict["whole"], strict["missing"], strict["missing_reasons"]) == (7, 1, [], {})
    broken = [entry for entry in strict["failed"] if entry["id"] == "broken.mkv"]
    assert [entry["modality"] for entry in broken] == ["video", "audio"]
    assert strict["reasons"][broken[0]["reason"]] == 1
    assert strict["reasons"][f"{NO_VIDEO} that can be decoded"] == 2
    assert strict["reasons"][ZERO] == 2

    lenient = prepare(config(folder), tmp_path / "out")
    assert (lenient["samples"], lenient["whole"]) == (7, 5)
    assert {entry["id"] for entry in lenient["failed"]} == {"nothing.wav", "broken.mkv"}
    assert [(entry["id"], entry["modality"], entry["file"]) for entry in lenient["missing"]] == [
        (name, modality, name)
        for name, modality in (
            ("silent.mkv", "audio"),
            ("cancels.mkv", "audio"),
            ("mute.mkv", "audio"),
            ("blind.wav", "video"),
        )
    ]
    assert lenient["missing_reasons"][ZERO] == 1
    assert sum(lenient["missing_reasons"].values()) == 4


def test_what_is_missing_is_no_reason_to_read_it_again(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", lambda output: add_video(output, pictures(4, 32, 32)))
    (tmp_path / "m.csv").write_text("id,split,label,clip\n1,train,a,a.mkv\n")
    prepare(config(tmp_path), tmp_path / "out")
    (tar,) = (tmp_path / "out").glob("*.tar")
    before = tar.stat().st_mtime_ns
    prepare(config(tmp_path), tmp_path / "out", retry=True)
    assert tar.stat().st_mtime_ns == before
    prepare(config(tmp_path, "bad", "bad"), tmp_path / "out", retry=True)
    assert tar.stat().st_mtime_ns != before


def test_shards_that_do_not_say_what_their_files_lacked_are_read_as_they_were(folder: Path, tmp_path: Path) -> None:
    """Those of earlier versions have the reason alone: the sample is bad until it is prepared again."""
    out = tmp_path / "out"
    prepare(config(folder), out)
    for note in (out / "journal").glob("train-*.json"):
        content = json.loads(note.read_text())
        for place in content["places"].values():
            for failure in place["failed"].values():
                failure.pop("kind", None)
        note.write_text(json.dumps(content))
    prepare(config(folder), out)
    made = config(folder, manifest=str(out / "shards.json"))
    assert (found(made)["whole.mkv"], found(made)["silent.mkv"]) == (BOTH, ZERO)
    prepare(config(folder), out, retry=True)
    assert found(made)["silent.mkv"] == ["video"]


def test_errors_know_what_a_file_lacks(folder: Path) -> None:
    audio = config(folder).modalities["audio"]
    with pytest.raises(SilentError, match=ZERO):
        audio.load(folder / "silent.mkv")
    with pytest.raises(NoStreamError, match=NO_AUDIO):
        audio.load(folder / "mute.mkv")
    assert not read_audio(folder / "silent.mkv", RATE).any()


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        ({**AUDIO, "on_silent": "skip"}, r"audio: on_silent: expected one of bad, missing, got 'skip'"),
        ({**VIDEO, "on_no_stream": ""}, r"audio: on_no_stream: expected one of bad, missing, got ''"),
        ({**VIDEO, "on_silent": "missing"}, r"on_silent"),
    ],
)
def test_refusals(modality: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(manifest="m.csv", modalities={"audio": modality})
