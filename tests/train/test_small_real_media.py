"""What a small set of real clips needs, all at once: lips in a box, babble in their sound, on clips of GRID."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from locomt.data import ManifestDataset, Sample, read_frames
from locomt.train import evaluate, fit, load_recipe, predict
from locomt.train.augment_config import AugmentConfig
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe
from locomt.train.sound_augment import ChangedSound

MOUTH = [0.35, 0.5, 0.65, 0.9]


@pytest.fixture
def recipe(shared_data: Path, tmp_path: Path) -> Recipe:
    clips = sorted((shared_data / "grid_s1" / "clips").glob("*.mp4"))[:12]
    splits = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    rows = [f"{clip.stem},{split},{clip.stem[:2]},{clip}" for clip, split in zip(clips, splits, strict=True)]
    (tmp_path / "clips.csv").write_text("\n".join(["id,split,label,clip", *rows]) + "\n")
    modalities: dict[str, Any] = {
        "lips": {"kind": "video", "column": "clip", "frames": 6, "box": MOUTH, "size": 16, "differences": True},
        "sound": {"kind": "audio", "column": "clip", "seconds": 3, "mels": 32, "standardise": True},
    }
    augment = {"noise": "clips", "noise_db": [-5, 5], "gain": 6, "shift": 0.04, "speed": 0.05, "crop_area": 0.5}
    labels = sorted({clip.stem[:2] for clip in clips} | {"zz"})
    path = tmp_path / "clips.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "model": {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1},
                "data": {
                    "manifest": "clips.csv",
                    "modalities": modalities,
                    "labels": labels,
                    "allow_outside": True,
                    "cache": True,
                },
                "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "tensorboard": False, "augment": augment},
            }
        )
    )
    return load_recipe(path)


@pytest.mark.shared_data
@pytest.mark.parametrize("decibels", [-5, 0, 10])
def test_babble_in_real_speech_is_as_loud_as_asked_for(recipe: Recipe, decibels: float) -> None:
    dataset = ManifestDataset(recipe.data, "train", recipe.data.labels or ())
    augment = AugmentConfig(noise="clips", noise_db=[decibels, decibels])
    changed = ChangedSound(dataset, augment, 0)
    for row in range(len(dataset)):
        clean = dataset.sound(row, "sound")
        assert clean is not None
        noise = changed._change(row, np.random.default_rng(row), "sound", clean).double() - clean.double()
        real = slice(int(clean.nonzero()[0]), int(clean.nonzero()[-1]) + 1)
        ratio = clean[real].double().square().mean() / noise[real].square().mean()
        assert 10 * math.log10(float(ratio)) == pytest.approx(decibels, abs=0.01)


@pytest.mark.shared_data
def test_a_run_on_real_clips_is_trained_scored_and_used(recipe: Recipe, tmp_path: Path) -> None:
    fit(recipe, tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert run.recipe == recipe
    assert evaluate(run, device="cpu")["samples"] == 2
    clip = next(row.cells["clip"] for row in ManifestDataset(recipe.data, "test").rows)
    seen = ManifestDataset(recipe.data, "test", run.labels)[0]
    assert isinstance(seen, Sample)
    (answer,) = predict(run, [clip])
    inputs = {name: tensor[None] for name, tensor in seen.inputs.items()}
    scores = run.model(inputs).detach().softmax(dim=1)[0]
    assert answer["predictions"][0]["score"] == pytest.approx(float(scores.max()), abs=1e-5)
    whole = read_frames(clip, 6)
    height, width = whole.shape[2:]
    assert inputs["lips"].shape == (1, 6, 3, 16, 16)
    box = [round(part * side) for part, side in zip(MOUTH, (width, height) * 2, strict=True)]
    mouth = whole[:, :, box[1] : box[3], box[0] : box[2]].float().mean(dim=(0, 2, 3))
    assert (inputs["lips"][0].float().mean(dim=(0, 2, 3)) - mouth).abs().max() < 12
