"""Training, evaluation and prediction on clips of which some are broken: to the end, with their list."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from locomt.cli.main import main
from locomt.data import BadSample
from locomt.train.bad import BadSampleLog, TooManyBadSamplesError
from media_clips import add_audio, add_video, pictures, tone, write_audio, write_clip

SIZES = {"train": 40, "val": 20, "test": 20}
ROW = {"train": 2, "val": 42, "test": 62}
"""The line of each split's first row: they follow each other below the header."""
SOUND = tone(0.2, 16000)
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def locomt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs a command line in the folder of the clips: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """80 clips, 5 % of each split broken: cut, empty, without sound, silent."""
    rows = []
    for split, size in SIZES.items():
        for number in range(size):
            name = f"{split}{number}.mkv"
            write(tmp_path / name, number % 2)
            rows.append({"id": name, "split": split, "label": "ab"[number % 2], "clip": name})
    write(tmp_path / "train7.mkv", 0, sound=tone(3, 16000))
    whole = (tmp_path / "train7.mkv").read_bytes()
    (tmp_path / "train7.mkv").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "train30.mkv", 0, sound=np.zeros(3200))
    (tmp_path / "val3.mkv").write_bytes(b"")
    write(tmp_path / "test11.mkv", 0, sound=None)
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    settings: dict[str, Any] = {
        "model": {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1},
        "data": {
            "manifest": "clips.csv",
            "task": "multiclass",
            "workers": 2,
            "modalities": {
                "video": {"kind": "video", "column": "clip", "frames": 2, "size": 16},
                "audio": {"kind": "audio", "column": "clip", "seconds": 0.2, "mels": 16},
            },
        },
        "train": {"epochs": 2, "batch_size": 8, "accelerator": "cpu", "tensorboard": False},
    }
    (tmp_path / "clips.yaml").write_text(yaml.safe_dump(settings))
    return "clips.yaml"


def write(path: Path, label: int, sound: np.ndarray | None = SOUND) -> None:
    images = [image // (1 + label) for image in pictures(4, 16, 16)]
    streams = [lambda output: add_video(output, images)]
    if sound is not None:
        streams.append(lambda output: add_audio(output, sound[None], 16000))
    write_clip(path, *streams)


def test_a_run_over_5_percent_broken_clips_finishes_with_their_list(
    locomt: Command, recipe: str, tmp_path: Path
) -> None:
    code, out, err = locomt("train", recipe, "--run", "run", "--json")
    assert (code, json.loads(out)["skipped"]) == (0, 3)
    assert "3 samples could not be read and were skipped, see run/bad_samples.jsonl" in err
    listed = [json.loads(line) for line in (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()]
    found = sorted((entry["split"], entry["row"], Path(entry["file"]).name) for entry in listed)
    assert found == [
        ("train", ROW["train"] + 7, "train7.mkv"),
        ("train", ROW["train"] + 30, "train30.mkv"),
        ("val", ROW["val"] + 3, "val3.mkv"),
    ]
    reasons = {Path(entry["file"]).name: entry["reason"] for entry in listed}
    assert reasons["train7.mkv"].startswith("truncated")
    assert reasons["train30.mkv"] == "all-zero audio throughout"
    assert reasons["val3.mkv"] == "the file is empty"

    code, out, err = locomt("evaluate", "run", "--json")
    answer = json.loads(out)
    assert (code, answer["samples"], answer["skipped"]) == (0, 19, 1)
    assert f"skipped row {ROW['test'] + 11}, {tmp_path / 'test11.mkv'}: there is no audio stream" in err

    code, out, err = locomt("predict", "run", "test0.mkv", "val3.mkv", "--json")
    first, second = json.loads(out)
    assert (code, first["file"], second) == (2, "test0.mkv", {"file": "val3.mkv", "error": "the file is empty"})
    assert len(first["predictions"]) == 2
    assert "val3.mkv: the file is empty" in err


def test_more_broken_clips_than_allowed_stop_it_with_the_first_of_them(
    locomt: Command, recipe: str, tmp_path: Path
) -> None:
    code, out, err = locomt("train", recipe, "--run", "run", "--data.max_bad", "0.04")
    assert (code, out) == (2, "")
    message = "2 of the 40 samples of split 'train' could not be read so far, more than data.max_bad = 0.04 allows"
    last = err.splitlines()[-1]
    assert last.startswith(f"locomt train: {message}")
    assert "train7.mkv" in last
    assert "train30.mkv" in last
    assert len((tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "run" / "model").exists()
    code, out, err = locomt("train", recipe, "--run", "run", "--resume")  # the limit is free to be changed
    assert (code, "skipped" in out) == (0, True)
    code, out, err = locomt("evaluate", "run", "--data.max_bad", "0.01")
    assert (code, out) == (2, "")
    assert "1 of the 20 samples of split 'test' could not be read so far" in err.splitlines()[-1]


@pytest.mark.parametrize("limit", [0.29, 0.07, 0.57])
def test_the_limit_itself_is_allowed(limit: float) -> None:

    log = BadSampleLog({"train": 100}, limit)
    log.add("train", [BadSample(str(row), row, "a.mp4", "broken") for row in range(round(limit * 100))])
    with pytest.raises(TooManyBadSamplesError):
        log.add("train", [BadSample("more", 1000, "a.mp4", "broken")])


def test_samples_that_lack_a_modality_count_once() -> None:
    log = BadSampleLog({"train": 4, "val": 4}, 0)
    for _ in range(2):  # epochs
        log.lack("train", {"audio": ["a", "b"]})
        log.lack("train", {"audio": ["c"], "video": ["d"]})
        log.lack("val", {"audio": ["a"]})
    assert log.missing == {"audio": 4, "video": 1}
    resumed = BadSampleLog({"train": 4, "val": 4}, 0)
    resumed.begin(log.lines(), log.lacking())
    resumed.lack("train", {"audio": ["b", "d"]})
    assert resumed.missing == {"audio": 5, "video": 1}


def test_what_clips_lack_is_left_out_and_said(locomt: Command, recipe: str, tmp_path: Path) -> None:
    """Prediction always answers by what there is; training and evaluation do where the recipe says so."""
    fields = ["--data.modalities.audio.on_silent", "missing", "--data.modalities.audio.on_no_stream", "missing"]
    code, out, err = locomt("train", recipe, "--run", "run", "--json", *fields)
    answer = json.loads(out)
    assert (code, answer["skipped"], answer["missing"]) == (0, 2, {"audio": 1})  # the silent one is no longer skipped
    assert "1 sample went without audio: their files lack it" in err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["missing"] == {"audio": 1}
    code, out, err = locomt("train", recipe, "--run", "run", "--json", "--resume", *fields)  # there is nothing to do
    assert (code, json.loads(out)) == (0, answer)
    assert "1 sample went without audio: their files lack it" in err
    code, out, err = locomt("evaluate", "run", "--json")
    answer = json.loads(out)
    assert (code, answer["samples"], answer["skipped"], answer["missing"]) == (0, 20, 0, {"audio": 1})
    assert "1 of 20 samples went without audio: their files lack it" in err

    code, out, err = locomt("predict", "run", "test0.mkv", "train30.mkv", "test11.mkv", "--json")
    whole, silent, mute = json.loads(out)
    assert (code, whole.keys()) == (0, {"file", "predictions"})
    assert (silent["missing"], silent["why"]) == (["audio"], {"audio": "all-zero audio throughout"})
    assert (mute["missing"], len(mute["predictions"])) == (["audio"], 2)
    assert "predict: train30.mkv: answered without audio: all-zero audio throughout" in err
    assert "predict: test11.mkv: answered without audio: there is no audio stream" in err
    write_audio(tmp_path / "silent.wav", SOUND[None] * 0, 16000)
    code, out, _ = locomt("predict", "run", "silent.wav", "--json")
    (nothing,) = json.loads(out)
    assert code == 2
    assert set(nothing["error"].split("; ")) == {
        "there is no video stream that can be decoded",
        "all-zero audio throughout",
    }
