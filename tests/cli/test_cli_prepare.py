"""`locomt prepare`, as it is called: from recipes, manifests and folders; what it says, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from feature_project import make_project
from locomt.cli.main import main
from locomt.data import ManifestDataset, Sample, label_list
from locomt.train.recipe_file import load_recipe
from media_clips import add_audio, add_video, pictures, tone, write_clip, write_video

Read = Callable[[], tuple[str, str]]


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    return lambda: tuple(capsys.readouterr())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of clips, one of which is cut short."""
    for place in ("train/cat/a", "train/cat/b", "train/dog/a", "train/dog/b", "val/cat/c", "val/dog/c"):
        path = tmp_path / "clips" / f"{place}.mkv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(
            path,
            lambda output: add_video(output, pictures(50)),
            lambda output: add_audio(output, tone(2, 16000)[None], 16000),
        )
    path.write_bytes(path.read_bytes()[:3000])
    return tmp_path / "clips"


def test_a_recipe(tmp_path: Path, read: Read) -> None:
    project, out = make_project(tmp_path / "project"), tmp_path / "shards"
    assert main(["prepare", str(project), "--out", str(out), "--workers", "0", "--json"]) == 0
    stdout, stderr = read()
    report = json.loads(stdout)
    assert (report["samples"], report["whole"], report["failed"], stderr) == (23, 23, [], "")
    assert json.loads((out / "report.json").read_text()) == report
    prepared, recipe = load_recipe(out / "recipe.yaml"), load_recipe(project)
    assert prepared.data.manifest == str(out / "shards.json")
    assert (prepared.model, prepared.train) == (recipe.model, recipe.train)
    assert prepared.data.modalities == recipe.data.modalities
    assert main(["train", str(out / "recipe.yaml"), "--run", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(read()[0])["skipped"] == 0
    assert main(["prepare", str(out), "--check"]) == 0
    assert "is as it was written" in read()[1]


def test_a_folder_with_a_folder_for_each_class(folder: Path, tmp_path: Path, read: Read) -> None:
    out = tmp_path / "shards"
    fields = ["--data.modalities.video.size", "32", "--data.max_bad", "0.1"]
    assert main(["prepare", str(folder), "--out", str(out), "--workers", "0", *fields]) == 0
    stdout, stderr = read()
    stderr = " ".join(stderr.split())
    (row,) = (line for line in stdout.splitlines() if "truncated" in line)
    assert row.strip("│ ").split()[0] == "1"  # of the pictures and of the sound of one clip
    assert "found video (video, from column clip), audio (audio, from column clip)" in stderr
    assert "5 of 6 samples are whole, in 2 shards" in stderr
    assert "1 could not be read" in stderr
    assert "more than data.max_bad = 0.1" in stderr
    report = json.loads((out / "report.json").read_text())
    assert {(entry["file"], entry["modality"]) for entry in report["failed"]} == {
        ("val/dog/c.mkv", "video"), ("val/dog/c.mkv", "audio"),
    }  # fmt: skip
    data = load_recipe(out / "recipe.yaml").data
    dataset = ManifestDataset(data, "train", label_list(data))
    assert label_list(data) == ["cat", "dog"]
    samples = [dataset[n] for n in range(len(dataset))]
    assert all(isinstance(sample, Sample) and set(sample.inputs) == {"video", "audio"} for sample in samples)


def test_the_recipe_of_one_modality_has_no_cross_heads(tmp_path: Path, read: Read) -> None:
    """The command that is printed at the end is not refused."""
    for place in ("train/red/1", "train/blue/1", "val/red/2"):
        path = tmp_path / "pictures" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 32), path.parent.name).save(path)
    out = tmp_path / "shards"
    assert main(["prepare", str(tmp_path / "pictures"), "--out", str(out), "--workers", "0"]) == 0
    recipe = load_recipe(out / "recipe.yaml")
    assert (recipe.model.fusion, list(recipe.data.modalities)) == ("selfall", ["image"])
    assert recipe.fusion_config(label_list(recipe.data)).num_outputs == 2


def test_what_samples_go_without(tmp_path: Path, read: Read) -> None:
    """Counted by reason beside what could not be read, and no fault where the recipe says so."""
    for name, sound in (("a", tone(1, 16000)), ("b", np.zeros(16000)), ("c", None), ("d", None)):
        streams = [lambda output: add_video(output, pictures(4))]
        if sound is not None:
            streams.append(lambda output, sound=sound: add_audio(output, sound[None], 16000))
        write_clip(tmp_path / f"{name}.mkv", *streams)
    (tmp_path / "m.csv").write_text(
        "id,split,label,clip\n" + "".join(f"{n},train,{n},{n}.mkv\n" for n in "abcd") + "e,train,e,e.mkv\n"
    )
    call = ["prepare", str(tmp_path / "m.csv"), "--out", str(tmp_path / "out"), "--workers", "0"]
    assert main(call) == 0
    stdout, stderr = read()
    assert "what samples go without" not in stdout
    assert "1 of 5 samples are whole" in " ".join(stderr.split())
    fields = [f"--data.modalities.audio.{name}" for name in ("on_silent", "on_no_stream")]
    assert main([*call, fields[0], "missing", fields[1], "missing"]) == 0
    stdout, stderr = read()
    failed, without = stdout.split("what samples go without")
    assert [line.strip("│ ").split()[0] for line in failed.splitlines() if "no such file" in line] == ["1"]
    assert [line.strip("│ ").split()[0] for line in without.splitlines() if "audio" in line] == ["2", "1"]
    assert "4 of 5 samples are whole" in " ".join(stderr.split())
    assert "3 of them lack a stream or sound, which the recipe takes for a missing modality" in " ".join(stderr.split())


def test_a_manifest_alone(tmp_path: Path, read: Read) -> None:
    write_video(tmp_path / "a.mkv", pictures(4))
    (tmp_path / "m.csv").write_text("id,split,label,clip,title\n1,train,x,gone.mkv,hi\n2,train,y,a.mkv,there\n")
    assert main(["prepare", str(tmp_path / "m.csv"), "--out", str(tmp_path / "out"), "--workers", "0"]) == 0
    assert "found video (video, from column clip), title (text, from column title)" in " ".join(read()[1].split())
    sources = load_recipe(tmp_path / "out" / "recipe.yaml").data.modalities
    assert [(name, source.kind) for name, source in sources.items()] == [("video", "video"), ("title", "text")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,split,label,lips\n1,train,x,a.npy\n2,train,x,b.npy\n", "feature files of vectors of 3 and 4 numbers"),
        ("id,split,label,lips\n1,train,x,c.npy\n", "column 'lips' names feature files such as 'c.npy', none of which"),
        ("id,split,label,clip\n1,train,x,a.mp4\n", "column 'clip' names files such as 'a.mp4', none of which is there"),
        ("id,split,label\n1,train,x\n", "no column names files or holds text"),
    ],
)
def test_a_manifest_that_needs_a_recipe(rows: str, message: str, tmp_path: Path, read: Read) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    np.save(tmp_path / "b.npy", np.ones((2, 4)))
    (tmp_path / "m.csv").write_text(rows)
    assert main(["prepare", str(tmp_path / "m.csv"), "--out", str(tmp_path / "out")]) == 2
    assert message in read()[1]
    assert not (tmp_path / "out").exists()


def test_another_recipe_for_the_same_folder(tmp_path: Path, read: Read) -> None:
    project, out = make_project(tmp_path / "project"), tmp_path / "shards"
    call = ["prepare", str(project), "--out", str(out), "--workers", "0"]
    assert main(call) == 0
    read()
    assert main([*call, "--data.modalities.motion.max_length", "3"]) == 2
    message = read()[1]
    assert "was begun with another recipe or manifest: modalities.motion.max_length was 4 and is now 3" in message
    assert len(message.splitlines()) == 1


def test_of_much_that_differs_the_first_of_each_kind_is_named(tmp_path: Path, read: Read) -> None:
    project, out = make_project(tmp_path / "project"), tmp_path / "shards"
    call = ["prepare", str(project), "--out", str(out), "--workers", "0"]
    assert main(call) == 0
    read()
    manifest = tmp_path / "project" / "clips.csv"
    manifest.write_text(manifest.read_text().replace("_motion.npy", "_moved.npy").replace(",left,", ",Left,"))
    assert main([*call, "--images", "png", "--data.modalities.sound.max_length", "3"]) == 2
    message = read()[1]
    assert (
        "modalities.sound.max_length was 4 and is now 3; storage.images was 'jpeg' and is now 'png'; row 2, " in message
    )
    assert "column.label was 'left' and is now 'Left', and it has changed in 7 other rows (and 1 more)" in message
    assert len(message.splitlines()) == 1


def test_damage_is_found(tmp_path: Path, read: Read) -> None:
    project, out = make_project(tmp_path / "project"), tmp_path / "shards"
    assert main(["prepare", str(project), "--out", str(out), "--workers", "0"]) == 0
    (tar, *_) = sorted(out.glob("*.tar"))
    content = bytearray(tar.read_bytes())
    content[700] ^= 1
    tar.write_bytes(content)
    read()
    assert main(["prepare", str(out / "shards.json"), "--check", "--json"]) == 2
    stdout, stderr = read()
    (fault,) = json.loads(stdout)["faults"]
    assert str(tar) in fault
    assert "SHA-256" in fault
    assert "SHA-256" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --out DIR"),
        (["--out", "x", "--workers", "-1"], "--workers: expected 0 or more, got -1"),
        (["--out", "x", "--images", "gif"], "images: expected one of jpeg, png, got 'gif'"),
        (["--out", "x", "--sound", "mp3"], "sound: expected one of flac, npy, got 'mp3'"),
        (["--out", "x", "--quality", "0"], "quality: expected 1 to 100, got 0"),
        (["--out", "x", "--fps", "-2"], "fps: expected frames a second, or 0 for all, got -2"),
        (["--out", "x", "--shard-samples", "0"], "samples to a shard: expected 1 or more, got 0"),
        (["--check"], "No such file or directory"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = make_project(tmp_path / "project")
    source = str(tmp_path / "project") if arguments == ["--check"] else str(project)
    assert main(["prepare", source, *arguments]) == 2
    stdout, stderr = read()
    assert stdout == ""
    assert message in stderr
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_the_recipe_that_is_written_can_be_moved_with_its_shards(tmp_path: Path) -> None:
    project, out = make_project(tmp_path / "project"), tmp_path / "shards"
    assert main(["prepare", str(project), "--out", str(out), "--workers", "0"]) == 0
    assert yaml.safe_load((out / "recipe.yaml").read_text())["data"]["manifest"] == "shards.json"
    moved = out.rename(tmp_path / "elsewhere")
    assert load_recipe(moved / "recipe.yaml").data.manifest == str(moved / "shards.json")
