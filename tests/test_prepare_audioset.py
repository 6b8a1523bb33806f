"""AudioSet's official files and the names that downloaders leave, to a manifest."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import forks
from official_files import CLASSES, COMMENTS, EVAL, TRAIN, audioset_clip, audioset_csv, audioset_lines

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("prepare_audioset", ROOT / "recipes" / "prepare_audioset.py")
assert SPEC is not None
assert SPEC.loader is not None
PREPARE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PREPARE)


def prepare(*args: object) -> subprocess.CompletedProcess[str]:
    return forks.run(ROOT / "recipes" / "prepare_audioset.py", *args)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "AudioSet"
    folder.mkdir()
    (folder / "balanced_train_segments.csv").write_text(audioset_csv(TRAIN))
    (folder / "eval_segments.csv").write_text("YTID,start_seconds,end_seconds,positive_labels\n" + audioset_lines(EVAL))
    index = "".join(f'{n},{mid},"{name}"\n' for n, (mid, name) in enumerate(CLASSES))
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + index)
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Several ways of naming; sound inside clips."""
    folder = tmp_path / "clips"
    audioset_clip(folder / "--aE2O5G5WE.mp4")
    audioset_clip(folder / "deep" / "Y-0RWZT-miFs_30_40.mp4")
    audioset_clip(folder / "_a-b_c1_d-e_5.500.mp4")
    audioset_clip(folder / "abc_def-123_120000_130000.mp4")
    audioset_clip(folder / "inside_only_10.mp4")
    audioset_clip(folder / "YYvalTest--1.mp4")
    audioset_clip(folder / "_evalTest_2_20.mp4", silent=True)
    (folder / "abc_def.mp4").touch()  # the beginning of another id
    (folder / "missing_one_50_60.mp4").touch()  # another stretch of that video
    (folder / "missing_one.mp4.part").touch()
    (folder / "notes.txt").touch()
    return folder


def test_all_names_are_found_and_nothing_else(source: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = prepare(source, clips, out, "--val", 0)
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in read(out / "manifest.csv")}
    assert rows.keys() == {
        "--aE2O5G5WE_0",
        "-0RWZT-miFs_30",
        "_a-b_c1_d-e_5.5",
        "abc_def-123_120",
        "inside_only_10",
    } | {
        "YvalTest--1_20",
        "_evalTest_2_20",
    }
    assert rows["-0RWZT-miFs_30"]["video"] == rows["-0RWZT-miFs_30"]["audio"] == "../clips/deep/Y-0RWZT-miFs_30_40.mp4"
    assert rows["_a-b_c1_d-e_5.5"]["label"] == "Male speech, man speaking;Speech"
    assert {row["split"] for row in rows.values()} == {"train", "test"}
    dog = next(row for row in read(out / "classes.csv") if row["class"] == "Dog")
    assert [dog[f"train_{state}"] for state in ("listed", "missing", "used")] == ["4", "1", "3"]
    assert "Dog: 3 of 4 training clips" in done.stdout
    train = json.loads((out / "summary.json").read_text())["train"]
    assert train == {"listed": 6, "missing": 1, "silent": 0, "black": 0, "no_stream": 0, "unreadable": 0, "used": 5}
    assert read(out / "missing_segments.csv") == [
        {"YTID": "missing_one", "start_seconds": "10.000", "end_seconds": "20.000", "positive_labels": "/m/0bt9lr"}
    ]
    assert (out / "labels.txt").read_text().splitlines() == [name for _, name in CLASSES]


@pytest.mark.parametrize(
    "name",
    [
        *("{id}", "Y{id}", "{id}_120_130", "Y{id}_120_130", "{id}_120", "{id}_000120", "{id}_120000_130000"),
        *("{id}_120000", "{id}_120.000_130.000", "Y{id}_120.000_130.000", "{id}_120.0-130.0", "Dog/{id}_120-130"),
    ],
)
@pytest.mark.parametrize("ending", [".webm", ".MKV", ".m4a"])
def test_names_that_downloaders_leave(source: Path, tmp_path: Path, name: str, ending: str) -> None:
    (source / "balanced_train_segments.csv").write_text('-bc_def-1_3, 120.000, 130.000, "/m/0bt9lr"\n')
    file = tmp_path / "clips" / (name.format(id="-bc_def-1_3") + ending)
    file.parent.mkdir(parents=True)
    file.touch()
    stems = PREPARE.index_files(tmp_path / "clips")
    (segment,) = PREPARE.read_segments(source / "balanced_train_segments.csv", dict(CLASSES))
    files = PREPARE.find(segment, stems)
    assert (files.audio if ending == ".m4a" else files.video) == str(file)


def test_sound_beside_the_pictures_comes_first(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("--aE2O5G5WE.mp4", "Y--aE2O5G5WE_0_10.wav", "YvalTest--1.flac"):
        (folder / name).touch()
    assert prepare(source, folder, tmp_path / "out", "--val", 0).returncode == 0
    both, alone = read(tmp_path / "out" / "manifest.csv")
    assert (both["video"], both["audio"]) == ("../clips/--aE2O5G5WE.mp4", "../clips/Y--aE2O5G5WE_0_10.wav")
    assert (alone["video"], alone["audio"]) == ("", "../clips/YvalTest--1.flac")


def test_check_finds_silent_black_and_broken_clips_once(source: Path, clips: Path, tmp_path: Path) -> None:
    audioset_clip(clips / "inside_only_10.mp4", black=True)
    (clips / "_a-b_c1_d-e_5.500.mp4").write_bytes(b"no clip")
    out = tmp_path / "out"
    done = prepare(source, clips, out, "--check", 2, "--val", 0)
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in read(out / "manifest.csv")}
    assert "_a-b_c1_d-e_5.5" not in rows
    assert (rows["inside_only_10"]["video"], bool(rows["inside_only_10"]["audio"])) == ("", True)
    assert (bool(rows["_evalTest_2_20"]["video"]), rows["_evalTest_2_20"]["audio"]) == (True, "")
    summary = json.loads((out / "summary.json").read_text())
    assert [summary["train"][state] for state in ("missing", "black", "unreadable", "used")] == [1, 1, 1, 4]
    assert (summary["test"]["silent"], summary["test"]["used"]) == (1, 2)
    dog = next(row for row in read(out / "classes.csv") if row["class"] == "Dog")
    assert (dog["train_black"], dog["test_silent"]) == ("1", "1")
    before = (out / "checked.csv").read_text()
    assert {row["result"] for row in read(out / "checked.csv")} > {"black", "silent", "fine"}
    with (out / "checked.csv").open("a") as file:
        file.write("half a li")
    again = prepare(source, clips, out, "--check", 1, "--val", 0)
    assert again.returncode == 0, again.stderr
    assert sorted((out / "checked.csv").read_text().splitlines()) == sorted(before.splitlines())


def test_check_looks_again_at_what_has_changed_and_was_left_half(source: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare(source, clips, out, "--check", 1, "--val", 0).returncode == 0
    checked = out / "checked.csv"
    checked.write_text(checked.read_text().rpartition(",")[0] + ",fi")  # the process was killed in a write
    audioset_clip(clips / "--aE2O5G5WE.mp4", seconds=16)
    done = prepare(source, clips, out, "--check", 1, "--val", 0)
    assert done.returncode == 0, done.stderr
    results = {row["file"]: row["result"] for row in read(checked)}
    assert results[str(clips / "--aE2O5G5WE.mp4")] == "not cut to its segment"
    assert set(results.values()) == {"fine", "silent", "not cut to its segment"}
    assert len(results) == 14
    assert "--aE2O5G5WE_0" not in {row["id"] for row in read(out / "manifest.csv")}


def test_a_crashing_decoder_costs_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PREPARE, "check", crash_at_7)
    monkeypatch.setattr(PREPARE, "one_thread", nothing)
    keys = [str(number) for number in range(30)]
    results = dict(PREPARE.check_many(keys, 2))
    assert list(results) == keys
    assert [key for key, result in results.items() if result != "fine"] == ["7"]
    assert results["7"] == "its decoder crashed"


def crash_at_7(key: str) -> str:
    if key == "7":
        os.kill(os.getpid(), signal.SIGKILL)
    return "fine"


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("eval_segments.csv", "#NAME?, 0.0, 10.0, \"/m/09x0r\"\n", "line 1: expected a YouTube id of 11"),
        ("eval_segments.csv", COMMENTS + "abcdefghijk, 9.0, 5.0, \"/m/09x0r\"\n", "line 4: expected seconds, sta"),
        ("eval_segments.csv", "abcdefghijk, 0.0, x, \"/m/09x0r\"\n", "eval_segments.csv, line 1: expected seconds"),
        ("eval_segments.csv", "abcdefghijk, 0.0, 10.0, \"/m/nope\"\n", "line 1: expected labels of the index, got"),
        ("eval_segments.csv", "abcdefghijk, 0.0, 10.0\n", 'line 1: expected YTID, start, end, "labels"'),
        ("eval_segments.csv", audioset_lines(TRAIN[:1]), "--aE2O5G5WE_0 is to be trained and tested on"),
        ("class_labels_indices.csv", "a,b\n1,2\n", "expected the columns index, mid, display_name"),
        ("class_labels_indices.csv", "index,mid,display_name\n5,/m/09x0r,Speech\n", "expected class 0 in row 1"),
        ("ontology.json", "{", "ontology.json: expected a list of classes"),
    ],
)  # fmt: skip
def test_bad_files_are_named(source: Path, clips: Path, tmp_path: Path, file: str, text: str, message: str) -> None:
    (source / file).write_text(text)
    done = prepare(source, clips, tmp_path / "out")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_the_ontology_names_what_the_index_lacks(source: Path, clips: Path, tmp_path: Path) -> None:
    (source / "class_labels_indices.csv").write_text('index,mid,display_name\n0,/m/09x0r,"Speech"\n')
    entries = [{"id": mid, "name": name} for mid, name in (("/m/0dgw9r", "Human sounds"), *CLASSES)]
    (source / "ontology.json").write_text(json.dumps(entries))
    assert prepare(source, clips, tmp_path / "out", "--val", 0).returncode == 0
    assert "Dog" in {row["label"] for row in read(tmp_path / "out" / "manifest.csv")}
    names = (tmp_path / "out" / "labels.txt").read_text().splitlines()
    assert (names[0], sorted(names)) == ("Speech", sorted(name for _, name in CLASSES))
