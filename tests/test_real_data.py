"""The prepare scripts and recipes on the real data sets: what comes out fits, and what can be learnt is learnt."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import forks
from locomt.data import ManifestDataset, label_list
from locomt.train.evaluation import Run, evaluate
from locomt.train.fitting import fit
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import load_recipe

pytestmark = pytest.mark.shared_data
RECIPES = Path(__file__).parents[1] / "recipes"


def prepare(name: str, source: Path, out: Path, *options: str) -> Recipe:
    """Run the script and read the recipe of that name for what it wrote."""
    done = forks.run(RECIPES / f"prepare_{name}.py", source, out, *options)
    assert done.returncode == 0, done.stderr
    return load_recipe(RECIPES / f"{name}.yaml", ["--data.manifest", str(out / "manifest.csv")])


def test_mosi_videos_are_whole_and_features_belong_to_their_labels(shared_data: Path, tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    recipe = prepare("mosi", shared_data / "mosi", tmp_path)
    splits = {split: ManifestDataset(recipe.data, split, label_list(recipe.data)) for split in ("train", "val", "test")}
    assert {split: len(videos) for split, videos in splits.items()} == {"train": 50, "val": 12, "test": 31}
    x = {}
    y = {}
    for split, videos in splits.items():
        samples = [videos[i] for i in range(len(videos))]
        x[split] = torch.cat([sample.inputs["text"] for sample in samples]).double().numpy()
        y[split] = torch.cat([sample.label for sample in samples]).numpy()
        assert 9 <= min(len(sample.label) for sample in samples) <= max(len(sample.label) for sample in samples) <= 63
    assert (len(y["train"]) + len(y["val"]), len(y["test"])) == (1447, 752)
    # A linear model on the official training videos: 75.7 % by the text, as is known of these features.
    official = np.concatenate([x["train"], x["val"]]), np.concatenate([y["train"], y["val"]])
    model = sklearn.LogisticRegression(C=0.01, max_iter=2000).fit(*official)
    assert model.score(x["test"], y["test"]) == pytest.approx(0.757, abs=0.005)


def test_digits_keep_to_the_sets_own_test_split(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    recipe = prepare("digits", shared_data / "fsdd", tmp_path)
    with open(recipe.data.manifest, newline="") as file:
        rows = list(csv.DictReader(file))
    test = {row["recording"] for row in rows if row["split"] == "test"}
    assert len(test) == 300
    assert test.isdisjoint(row["recording"] for row in rows if row["split"] != "test")
    assert {int(Path(name).stem.split("_")[2]) for name in test} == set(range(5))
    data = ManifestDataset(recipe.data, "val", label_list(recipe.data))
    values = torch.cat([data[i].inputs["speech"] for i in range(0, 300, 20)])
    assert (values.mean().abs() < 0.3, 0.7 < values.std() < 1.3) == (True, True), "the recipe's mean and std fit"


def test_a_tiny_model_learns_the_grid_clips_by_heart(shared_data: Path, tmp_path: Path) -> None:
    recipe = prepare("grid", shared_data / "media" / "grid", tmp_path)
    assert all(Path(row.cells["clip"]).suffix == ".mpg" for row in ManifestDataset(recipe.data, "train").rows)
    summary = fit(recipe, tmp_path / "run")
    assert summary["skipped"] == 0
    scores = evaluate(Run.load(tmp_path / "run"), "train")
    assert (scores["samples"], scores["metrics"]["accuracy"]) == (11, 1.0)
