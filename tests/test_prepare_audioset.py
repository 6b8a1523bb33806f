"""AudioSet's official files and the names that downloaders leave, to a manifest, and on to a trained model's scores."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from locomt.experiments.clips import Clips, encode_clip

ROOT = Path(__file__).parents[1]
CLASSES = (("/m/09x0r", "Speech"), ("/m/05zppz", "Male speech, man speaking"), ("/m/0bt9lr", "Dog"))
COMMENTS = """\
# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=22160, num_segs=22160, num_unique_labels=527, num_positive_labels=52882
# YTID, start_seconds, end_seconds, positive_labels
"""
TRAIN = (
    ("--aE2O5G5WE", 0, '"/m/0bt9lr,/m/09x0r"'),
    ("-0RWZT-miFs", 30, '"/m/09x0r"'),
    ("_a-b_c1", 5.5, '"/m/05zppz,/m/09x0r"'),
    ("abc_def-123", 120, '"/m/0bt9lr"'),
    ("inside_only", 10, '"/m/0bt9lr"'),
    ("missing_one", 10, '"/m/0bt9lr"'),
)
EVAL = (("eval-1", 20, '"/m/09x0r"'), ("eval_2", 20, '"/m/0bt9lr"'))


def prepare(*args: object) -> subprocess.CompletedProcess[str]:
    script = ROOT / "recipes" / "prepare_audioset.py"
    return subprocess.run([sys.executable, script, *map(str, args)], capture_output=True, text=True)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(rows: tuple[tuple[str, float, str], ...]) -> str:
    return "".join(f"{name}, {start:.3f}, {start + 10:.3f}, {labels}\n" for name, start, labels in rows)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "AudioSet"
    folder.mkdir()
    (folder / "balanced_train_segments.csv").write_text(COMMENTS + lines(TRAIN))
    (folder / "eval_segments.csv").write_text("YTID,start_seconds,end_seconds,positive_labels\n" + lines(EVAL))
    index = "".join(f'{n},{mid},"{name}"\n' for n, (mid, name) in enumerate(CLASSES))
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + index)
    return folder


def clip(path: Path, *, black: bool = False, silent: bool = False) -> None:
    """A second of noise to see and hear."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    frames = random.integers(0, 1 if black else 256, (8, 32, 32, 3)).astype(np.uint8)
    sound = random.normal(0, 1e-7 if silent else 0.1, 16000).astype(np.float32)
    encode_clip(path, frames, sound, Clips(frames=8, size=32), "mpeg4", "aac")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Every way of naming; sound inside clips, but beside one of them."""
    folder = tmp_path / "clips"
    clip(folder / "--aE2O5G5WE.mp4")
    clip(folder / "deep" / "Y-0RWZT-miFs_30_40.mp4")
    clip(folder / "_a-b_c1_5.500.mp4")
    clip(folder / "abc_def-123_120000_130000.mp4")
    clip(folder / "inside_only_10.mp4")
    clip(folder / "Yeval-1.mp4")
    clip(folder / "eval_2_20.mp4", silent=True)
    (folder / "abc_def.mp4").touch()  # the beginning of another id
    (folder / "notes.txt").touch()
    return folder


def test_all_names_are_found_and_nothing_else(source: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = prepare(source, clips, out, "--val", 0)
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in read(out / "manifest.csv")}
    assert rows.keys() == {"--aE2O5G5WE_0", "-0RWZT-miFs_30", "_a-b_c1_5.5", "abc_def-123_120", "inside_only_10"} | {
        "eval-1_20",
        "eval_2_20",
    }
    assert rows["-0RWZT-miFs_30"]["video"] == rows["-0RWZT-miFs_30"]["audio"] == "../clips/deep/Y-0RWZT-miFs_30_40.mp4"
    assert rows["_a-b_c1_5.5"]["label"] == "Male speech, man speaking;Speech"
    assert {row["split"] for row in rows.values()} == {"train", "test"}
    missing = {row["class"]: row for row in read(out / "missing.csv")}
    assert (missing["Dog"]["train_found"], missing["Dog"]["train_listed"]) == ("3", "4")
    assert "Dog: 3 of 4 training clips" in done.stdout


def test_sound_beside_the_pictures_comes_first(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("--aE2O5G5WE.mp4", "Y--aE2O5G5WE_0_10.wav", "eval-1.flac"):
        (folder / name).touch()
    assert prepare(source, folder, tmp_path / "out", "--val", 0).returncode == 0
    both, alone = read(tmp_path / "out" / "manifest.csv")
    assert (both["video"], both["audio"]) == ("../clips/--aE2O5G5WE.mp4", "../clips/Y--aE2O5G5WE_0_10.wav")
    assert (alone["video"], alone["audio"]) == ("", "../clips/eval-1.flac")


def test_check_finds_silent_black_and_broken_clips_once(source: Path, clips: Path, tmp_path: Path) -> None:
    clip(clips / "inside_only_10.mp4", black=True)
    (clips / "_a-b_c1_5.500.mp4").write_bytes(b"no clip")
    out = tmp_path / "out"
    done = prepare(source, clips, out, "--check", 2, "--val", 0)
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in read(out / "manifest.csv")}
    assert "_a-b_c1_5.5" not in rows
    assert (rows["inside_only_10"]["video"], bool(rows["inside_only_10"]["audio"])) == ("", True)
    assert (bool(rows["eval_2_20"]["video"]), rows["eval_2_20"]["audio"]) == (True, "")
    assert "1 found but of no use" in done.stdout
    before = (out / "checked.csv").read_text()
    assert {row["result"] for row in read(out / "checked.csv")} > {"black", "silent", "fine"}
    with (out / "checked.csv").open("a") as file:
        file.write("half a li")
    again = prepare(source, clips, out, "--check", 1, "--val", 0)
    assert again.returncode == 0, again.stderr
    assert sorted((out / "checked.csv").read_text().splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("eval_segments.csv", "a, 0.0, x, \"/m/09x0r\"\n", "eval_segments.csv, line 1: expected seconds"),
        ("eval_segments.csv", "a, 0.0, 10.0, \"/m/nope\"\n", "line 1: expected labels of the index, got class '/m/n"),
        ("eval_segments.csv", "a, 0.0, 10.0\n", 'line 1: expected YTID, start, end, "labels"'),
        ("eval_segments.csv", lines(TRAIN[:1]), "--aE2O5G5WE_0 is to be trained and tested on"),
        ("class_labels_indices.csv", "a,b\n1,2\n", "expected the columns index, mid, display_name"),
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
    (source / "ontology.json").write_text(json.dumps([{"id": mid, "name": name} for mid, name in CLASSES]))
    assert prepare(source, clips, tmp_path / "out", "--val", 0).returncode == 0
    assert "Dog" in {row["label"] for row in read(tmp_path / "out" / "manifest.csv")}


def test_from_the_official_files_to_scores_of_every_class(source: Path, clips: Path, tmp_path: Path) -> None:
    assert prepare(source, clips, tmp_path / "out", "--check", 1, "--val", 0).returncode == 0
    small = {"model.dim": 8, "model.heads": 2, "model.depth": 2, "model.fusion_layers": 1, "train.epochs": 1}
    small |= {"data.manifest": tmp_path / "out" / "manifest.csv", "data.modalities.video.size": 32}
    small |= {"data.modalities.video.frames": 2, "data.modalities.audio.seconds": 1, "data.workers": 0}
    small |= {"train.batch_size": 2, "train.warmup_epochs": 0, "train.accelerator": "cpu", "train.tensorboard": "false"}
    small |= {"train.sampling": "balanced"}
    options = [text for name, value in small.items() for text in (f"--{name}", str(value))]
    run = tmp_path / "run"
    for command in (["train", ROOT / "recipes" / "audioset.yaml", "--run", run, *options], ["evaluate", run, "--json"]):
        done = subprocess.run([sys.executable, "-m", "locomt", *map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert {"mAP", "mAUC", "d_prime"} <= scores["metrics"].keys()
    assert scores["per_class"].keys() == {name for _, name in CLASSES}
