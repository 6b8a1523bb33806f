"""Files that are whole or absent, and the log of bad samples."""

import json
import os
from pathlib import Path

import pytest

from locomt.data import BadSample
from locomt.train.bad import BadSampleLog, TooManyBadSamplesError
from locomt.train.run_directory import RunDirectory, RunError, replacing, write_text


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file.txt"]
    write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]


def test_an_interrupted_export_leaves_no_model(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")

    def save_half(folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.export({"epoch": 1}, save_half)
    assert [path.name for path in run.path.iterdir()] == ["summary.json"]
    run.path.joinpath("config.yaml").touch()
    assert not run.finished


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "holds no labels.json"), ("[1,", "not valid JSON"), ('{"a": 1}', "expected a list, got")],
)
def test_labels_that_cannot_be_read(tmp_path: Path, text: str | None, message: str) -> None:
    run = RunDirectory(tmp_path)
    if text is not None:
        run.labels.write_text(text)
    with pytest.raises(RunError, match=message):
        run.read_labels()


def bad(row: int, reason: str = "cut short") -> BadSample:
    return BadSample(f"clip{row}", row, f"clips/{row}.mp4", reason)


def test_bad_samples_are_counted_once_a_split(tmp_path: Path) -> None:
    log = BadSampleLog({"train": 10, "val": 10}, max_bad=0.2, path=tmp_path / "bad.jsonl")
    for _ in range(3):
        log.add("train", [bad(2), bad(5)])
    log.add("val", [bad(2)])
    assert log.total == 3
    lines = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert lines[0] == {"split": "train", "id": "clip2", "row": 2, "file": "clips/2.mp4", "reason": "cut short"}
    assert [(line["split"], line["row"]) for line in lines] == [("train", 2), ("train", 5), ("val", 2)]
    log.begin()
    assert log.total == 0
    assert not (tmp_path / "bad.jsonl").exists()


def test_the_limit_is_a_fraction_of_the_split() -> None:
    log = BadSampleLog({"train": 10, "val": 2}, max_bad=0.5)
    log.add("train", map(bad, range(5)))
    log.add("val", [bad(1)])
    with pytest.raises(
        TooManyBadSamplesError, match=r"6 of the 10 .* 'train' .* data.max_bad = 0.5 allows.* clips/0.mp4: cut short"
    ):
        log.add("train", [bad(9)])


def test_no_bad_sample_at_all_may_be_demanded() -> None:
    with pytest.raises(TooManyBadSamplesError):
        BadSampleLog({"train": 1000}, max_bad=0).add("train", [bad(1)])


@pytest.mark.parametrize("missing", [3, {"audio": "many"}, ["audio"]])
def test_a_summary_of_something_else_is_named(tmp_path: Path, missing: object) -> None:
    run = RunDirectory(tmp_path)
    whole = {"monitor": "val_accuracy", "epoch": 1, "skipped": 0}
    run.summary.write_text(json.dumps(whole | {"missing": {"audio": 2}}))
    assert run.read_summary()["missing"] == {"audio": 2}
    run.summary.write_text(json.dumps(whole | {"missing": missing}))
    with pytest.raises(RunError, match="expected 'missing' to be numbers of samples"):
        run.read_summary()
