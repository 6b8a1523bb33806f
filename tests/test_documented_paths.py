"""From a disk with AudioSet, MedVidCL or one's own clips to trained models by the commands of the documentation.

Each page's commands are run in their order as they stand, on files made in the official formats; only sizes are made
smaller, by options behind them.
"""

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forks
from doc_pages import ROOT, command_lines, fenced
from locomt.cli.main import main
from locomt.data import read_manifest
from locomt.train.evaluation import Run
from official_files import CLASSES, EVAL, LABELS, TRAIN, audioset_clip, audioset_csv, medvidcl_videos

pytestmark = pytest.mark.usefixtures("short_timing")
TINY = (
    "--model.dim 8 --model.heads 2 --model.depth 2 --model.fusion_layers 1 --train.epochs 1 --train.batch_size 3 "
    "--train.warmup_epochs 0 --train.accelerator cpu --train.tensorboard false --data.workers 0 "
)
ONCE = "--seeds 1 --jobs 1 "
SMALL = "--data.modalities.video.size 32 "
BRIEF = f"{SMALL} --data.modalities.video.frames 2 --data.modalities.audio.seconds 1 --data.crop 0.5 "
Follow = Callable[..., list[str]]


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Follow:
    """Runs the commands of a page, in what looks like the root of the repository: what each wrote to stdout."""
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    shutil.copytree(ROOT / "recipes", "recipes")

    def run(page: str, smaller: Callable[[str], str]) -> list[str]:
        answers = []
        for line in command_lines(ROOT / "docs" / page):
            program, *words = [*shlex.split(line, comments=True), *smaller(line).split()]
            if program == "hf":  # is for a machine with a network
                continue
            if program == "python":
                done = forks.run(*words)
                code, out, err = done.returncode, done.stdout, done.stderr
            else:
                assert program == "locomt", line
                code = main(words)
                out, err = capsys.readouterr()
            assert code == 0, (line, err)
            answers.append(out)
        return answers

    return run


@pytest.fixture
def vit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small ViT under the documented id, in the hub's cache as `hf download` leaves it; the folder of its files."""
    import huggingface_hub.constants
    from transformers import ViTConfig, ViTModel

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--google--vit-base-patch16-224-in21k"
    folder = repo / "snapshots" / ("0" * 40)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    ViTModel(ViTConfig(image_size=32, **sizes)).save_pretrained(folder)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(folder.name)
    return folder


def results(run: str) -> dict[str, dict[str, object]]:
    """The rows of a comparison by their models."""
    document = json.loads(Path("runs", run, "results.json").read_text())
    return {row["name"]: row for row in document["models"]}


def lay_out_audioset() -> None:
    """A clip for all segments but one; a class without any."""
    folder = Path("AudioSet")
    folder.mkdir()
    unbalanced = (("-unbalanced", 30, '"/m/0bt9lr"'), ("_unbalanced", 0, '"/m/05zppz"'))
    for name, rows in (("balanced_train", TRAIN), ("unbalanced_train", unbalanced), ("eval", EVAL)):
        (folder / f"{name}_segments.csv").write_text(audioset_csv(rows))
    index = (f'{n},{mid},"{name}"\n' for n, (mid, name) in enumerate((*CLASSES, ("/m/01hgjl", "Zither"))))
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + "".join(index))
    for video, start, _ in (*TRAIN[:-1], *unbalanced, *EVAL):
        audioset_clip(Path("clips", f"Y{video}_{start:g}_{start + 10:g}.mp4"))


def smaller_audioset(line: str) -> str:
    if line.startswith("python"):
        return ""
    if "evaluate" in line:
        return "--json"
    if "prepare" in line:
        return f"--workers 0 {BRIEF}"
    sizes = TINY if "shards/" in line else TINY + BRIEF
    return sizes + ONCE if "compare" in line else sizes


def test_audioset(follow: Follow, vit: Path) -> None:
    """With the recipes' crops, augmentation and averaged clips; from files, from shards and from pretrained towers."""
    lay_out_audioset()
    scores = next(json.loads(text) for text in follow("audioset.md", smaller_audioset) if text.startswith("{"))
    assert {"mAP", "mAUC", "d_prime"} <= scores["metrics"].keys()
    assert list(scores["per_class"]) == [*(name for _, name in CLASSES), "Zither"]
    assert (scores["samples"], scores["skipped"], scores["metrics"]["classes_scored"]) == (2, 0, 2)
    assert scores["per_class"]["Zither"]["average_precision"] is None
    for run in ("audioset_balanced", "audioset_shards"):
        assert list(results(run)) == ["locomt", "selfall", "multiall", "mbt", "video", "audio"]
        assert all(row["samples"] == 2 for row in results(run).values())
    counts = [
        len(read_manifest(Path("data", name, "manifest.csv"), {"video", "audio"}))
        for name in ("audioset", "audioset_balanced")
    ]
    assert counts == [9, 7]

    shutil.copytree(vit, "vit")
    follow("pretrained.md", smaller_audioset)
    runs = [Run.load(Path("runs", name)) for name in ("from_vit", "from_hub", "from_folder")]
    sources = [run.recipe.train.pretrained["audio"] for run in runs]
    assert sources == ["google/vit-base-patch16-224-in21k"] * 2 + [str(Path("vit").absolute())]
    ids, folder = (run.model.state_dict() for run in runs[1:])
    assert all(np.array_equal(ids[name], folder[name]) for name in ids)


def lay_out_medvidcl() -> None:
    """The released set, in which files lack here and there, and the titles alone."""
    random = np.random.default_rng(0)
    released, titles = Path("MedVidCL"), Path("../shared/data/medvidcl")
    (released / "ViT").mkdir(parents=True)
    titles.mkdir(parents=True)
    for split in ("train", "val", "test"):
        videos = medvidcl_videos(split)
        (released / f"{split}.json").write_text(json.dumps(videos))
        bare = [{name: video[name] for name in video if name != "video_sub_title"} for video in videos]
        (titles / f"{split}.json").write_text(json.dumps(bare))
        for video in videos[1:]:
            rows = random.normal(size=(random.integers(1, 30), 768)).astype(np.float32)
            np.save(released / "ViT" / f"{video['video_id']}.npy", rows)
        audioset_clip(released / "clips" / f"{videos[2]['video_id']}.mp4")


def smaller_medvidcl(line: str) -> str:
    if "compare" not in line:
        return "--vocabulary 60" if "prepare" in line else ""
    if "titles" in line:
        return f"{TINY} {ONCE} --tune-seeds 1"
    sizes = f"{TINY} {ONCE} --data.max_bad 0 --data.modalities.text.max_length 64"
    return f"{sizes} --data.modalities.audio.seconds 1 --models locomt,audio" if "sound" in line else sizes


def test_medvidcl(follow: Follow) -> None:
    lay_out_medvidcl()
    answers = follow("medvidcl.md", smaller_medvidcl)
    rows = results("medvidcl")
    assert list(rows) == ["locomt", "selfall", "multiall", "mbt", "text", "video"]
    assert [row["samples"] for row in rows.values()] == [6, 6, 6, 6, 6, 5]
    for row in rows.values():
        assert set(row["per_class"]) == set(LABELS)
        assert {"precision", "recall", "f1"} <= set(row["per_class"][LABELS[0]])
        assert row["metrics"]["f1"]["mean"] == row["mean"]
    sound = results("medvidcl_sound")
    assert (sound["locomt"]["samples"], sound["audio"]["samples"]) == (6, 1)
    assert sound["locomt"]["parameters"] > rows["locomt"]["parameters"]
    assert list(results("medvidcl-titles")) == ["title"]
    assert "best of validation" in answers[-1]


def smaller_clips(line: str) -> str:
    if "scans" in line:
        sizes = "--data.modalities.front.size 32 --data.modalities.side.size 32"
        return TINY + sizes if "train" in line else ""
    if "train" in line:
        return TINY + SMALL
    return "" if "--check" in line else f"--workers 0 {SMALL}"


def test_your_own_clips(follow: Follow) -> None:
    """By the manifest and the recipe that the page shows, and from a folder with a folder for each class."""
    page = ROOT / "docs" / "data.md"
    manifest = fenced(page, "csv")[0]
    recipe = next(text for text in fenced(page, "yaml") if "manifest: clips.csv" in text and "modalities:" in text)
    Path("clips.csv").write_text(manifest)
    Path("clips.yaml").write_text(recipe)
    Path("lips").mkdir()
    for row in csv.DictReader(manifest.splitlines()):
        if row["clip"]:
            audioset_clip(Path(row["clip"]))
        if row["lips"]:
            np.save(row["lips"], np.random.default_rng(0).normal(size=(5, 4800)))
    for name in ("cooking/1", "cooking/2", "music/3"):
        audioset_clip(Path("videos", "train", f"{name}.mp4"))
    Path("scans.csv").write_text(fenced(page, "csv")[1])
    Path("scans.yaml").write_text(next(text for text in fenced(page, "yaml") if "manifest: scans.csv" in text))
    Path("scans").mkdir()
    for name in ("1-front.png", "1-side.png", "2-front.jpg", "9-front.png", "9-side.png"):
        Image.new("RGB", (40, 48), "teal").save(Path("scans", name))
    follow("data.md", smaller_clips)
    for name, samples in (("clips", 3), ("videos", 3)):
        report = json.loads(Path("shards", name, "report.json").read_text())
        assert (report["samples"], report["whole"]) == (samples, samples)
    weights = [Path("runs", name, "model", "model.safetensors").read_bytes() for name in ("clips", "same")]
    assert weights[0] == weights[1]
