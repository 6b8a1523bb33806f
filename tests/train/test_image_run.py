"""A model of pictures: from files and from shards to training, evaluation and prediction."""

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from feature_project import LABELS, MODEL
from locomt.data.shards.prepare import prepare
from locomt.data.shards.storage import Storage
from locomt.train import evaluate, fit, load_recipe, predict
from locomt.train.evaluation import Run


def write_project(folder: Path) -> Path:
    """Pictures whose colour gives the label away, a second one of most samples beside a line of text; the recipe."""
    rng = np.random.default_rng(0)
    lines = ["id,split,label,front,side,notes"]
    for split, size in (("train", 18), ("val", 6), ("test", 6)):
        for number in range(size):
            label = number % 3
            names = [f"{split}{number}.jpg", f"{split}{number}-side.png" if number % 4 else ""]
            for name in filter(None, names):
                pixels = rng.integers(0, 100, (20, 28, 3), np.uint8)
                pixels[..., label] += 150
                Image.fromarray(pixels).save(folder / name)
            lines.append(f"{split}{number},{split},{LABELS[label]},{','.join(names)},number {number}")
    (folder / "clips.csv").write_text("\n".join([*lines, ""]))
    image = {"kind": "image", "size": 16, "patch": 8}
    recipe = {
        "model": MODEL,
        "data": {
            "manifest": "clips.csv",
            "modalities": {
                "front": {**image, "column": "front"},
                "side": {**image, "column": "side"},
                "notes": {"kind": "text", "column": "notes", "max_length": 10},
            },
        },
        "train": {"epochs": 8, "batch_size": 6, "learning_rate": 0.02, "tensorboard": False, "accelerator": "cpu"},
    }
    path = folder / "clips.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_pictures_are_trained_on_scored_and_labelled(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    recipe = load_recipe(project)
    fit(recipe, tmp_path / "files")
    prepare(recipe.data, tmp_path / "shards", Storage(images="png"))
    fit(load_recipe(project, ["--data.manifest", str(tmp_path / "shards" / "shards.json")]), tmp_path / "stored")
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("files", "stored")]
    assert weights[0] == weights[1]
    run = Run.load(tmp_path / "files")
    scores = evaluate(run, "test", device="cpu")
    assert (scores["samples"], scores["metrics"]["accuracy"]) == (6, 1.0)
    items = [{"front": tmp_path / f"test{number}.jpg", "notes": f"number {number}"} for number in range(3)]
    assert [answer["predictions"][0]["label"] for answer in predict(run, items)] == list(LABELS)
    (bare,) = predict(run, tmp_path / "test1.jpg")
    assert bare["error"].startswith("it may be of front or of side: say which, as front=")
