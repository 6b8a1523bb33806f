"""MedVidCL's official files to a manifest, and on through the recipe: made-up videos, and the real titles."""

import csv
import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import forks
from locomt.data import ManifestDataset, label_list
from locomt.train.recipe_file import load_recipe
from official_files import medvidcl_videos

RECIPES = Path(__file__).parents[1] / "recipes"


def prepare(*args: object) -> subprocess.CompletedProcess[str]:
    return forks.run(RECIPES / "prepare_medvidcl.py", *args)


def read_manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The released form: subtitles, ViT rows for all videos but one, one clip."""
    random = np.random.default_rng(0)
    folder = tmp_path / "MedVidCL"
    (folder / "ViT").mkdir(parents=True)
    (folder / "clips").mkdir()
    for split in ("train", "val", "test"):
        entries = medvidcl_videos(split)
        (folder / f"{split}.json").write_text(json.dumps(entries))
        for entry in entries[1:]:
            rows = random.normal(size=(random.integers(1, 30), 768)).astype(np.float32)
            np.save(folder / "ViT" / f"{entry['video_id']}.npy", rows)
    (folder / "clips" / "-train0.mp4").touch()
    return folder


def test_manifest_of_the_released_form(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = prepare(source, out, "--features", f"vit={source / 'ViT'}", "--clips", source / "clips", "--vocabulary", 0)
    assert done.returncode == 0, done.stderr
    rows = read_manifest(out)
    assert Counter(row["split"] for row in rows) == {"train": 6, "val": 6, "test": 6}
    first, second = rows[:2]
    assert first["text"] == "How to dress a burn 0. so today we talk about number 0"
    assert (second["text"], second["subtitles"]) == ("What is a burn? 1", "")
    assert (first["vit"], second["vit"]) == ("", "../MedVidCL/ViT/_train1.npy")
    assert (first["clip"], second["clip"]) == ("../MedVidCL/clips/-train0.mp4", "")
    assert "train: 6 videos, 2 Medical Instructional, 2 Medical Non-instructional, 2 Non-medical" in done.stdout
    assert "5 with subtitles, 5 with vit, 1 with clip" in done.stdout


def test_the_recipe_reads_what_was_prepared(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    out = tmp_path / "out"
    done = prepare(source, out, "--features", f"vit={source / 'ViT'}", "--vocabulary", 60)
    assert done.returncode == 0, done.stderr
    overrides = ["--data.manifest", str(out / "manifest.csv"), "--data.allow_outside", "true"]
    recipe = load_recipe(
        RECIPES / "medvidcl.yaml", [*overrides, "--data.modalities.text.tokenizer", str(out / "tokenizer")]
    )
    samples = ManifestDataset(recipe.data, "train", label_list(recipe.data))
    assert set(samples[0].inputs) == {"text"}
    assert samples[1].inputs["video"].shape[1] == 768
    assert len(samples[1].inputs["video"]) <= 20
    text = samples[1].inputs["text"]
    assert text.min() > 1, "nothing unknown, no padding"
    assert recipe.fusion_config(label_list(recipe.data)).modalities["text"].vocabulary <= 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "Medical"}, "train.json, video 3: expected a label of Medical Instructional, Medical Non"),
        ({"video_id": 7}, "train.json, video 3: expected video_id, video_title, label as text"),
        ({"video_sub_title": ["a"]}, "train.json, video 3: expected video_sub_title as text"),
    ],
)
def test_a_bad_video_is_named(source: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    entries = medvidcl_videos("train")
    entries[2] = entries[2] | change  # type: ignore[assignment]
    (source / "train.json").write_text(json.dumps(entries))
    done = prepare(source, tmp_path / "out", "--vocabulary", 0)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "manifest.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "vit"], "expected NAME=FOLDER such as vit=MedVidCL/ViT, got 'vit'"),
        (["--features", "text=x"], "expected NAME=FOLDER"),
        (["--clips", "nowhere"], "clip: expected a folder, got nowhere"),
    ],
)
def test_bad_arguments_are_named(source: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = prepare(source, tmp_path / "out", *arguments)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_missing_or_broken_file_is_named(source: Path, tmp_path: Path) -> None:
    (source / "val.json").write_text("[{")
    assert "val.json: not JSON" in prepare(source, tmp_path / "out").stderr
    (source / "val.json").unlink()
    assert "val.json, which is not there" in prepare(source, tmp_path / "out").stderr


@pytest.mark.shared_data
def test_the_official_titles(shared_data: Path, tmp_path: Path) -> None:
    done = prepare(shared_data / "medvidcl", tmp_path / "out", "--vocabulary", 0)
    assert done.returncode == 0, done.stderr
    assert Counter(row["split"] for row in read_manifest(tmp_path / "out")) == {"train": 4217, "val": 300, "test": 1600}


@pytest.mark.shared_data
def test_the_official_form_with_subtitles(shared_data: Path, tmp_path: Path) -> None:
    entries = json.loads((shared_data / "medvidcl" / "val_with_subtitles.json").read_text())
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.json").write_text(json.dumps(entries))
    done = prepare(tmp_path, tmp_path / "out", "--vocabulary", 0)
    assert "300 videos" in done.stdout
    assert "300 with subtitles" in done.stdout
