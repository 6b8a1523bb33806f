"""Training on random crops and evaluating several: as by hand, whatever the workers, and when resumed."""

import csv
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from locomt.data import ManifestDataset, collate
from locomt.tasks.multiclass import Multiclass
from locomt.train import Run, evaluate, fit, load_recipe, predict
from locomt.train.loading import CropSampler
from locomt.train.recipe import Recipe
from locomt.train.sampling import EpochSampler

LABELS = ("rising", "falling")
EVERYTHING = {
    "mixup": 0.5,
    "time_masks": 1,
    "time_mask": 4,
    "frequency_masks": 1,
    "frequency_mask": 4,
    "color": 0.4,
    "scale": 0.3,
    "flip": 0.5,
    "drop_modality": 0.2,
}


def write_clip(path: Path, label: int, seed: int, seconds: float) -> None:
    """Shades and a tone that rise or fall, from a start of their own."""
    rng = np.random.default_rng(seed)
    direction, start = 1 - 2 * label, rng.integers(80, 160)
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", rate=10)
        video.height = video.width = 16
        video.pix_fmt = "bgr0"
        audio = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        for n in range(round(10 * seconds)):
            image = np.full((16, 16, 3), np.clip(start + 3 * direction * n, 0, 255), np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(video.encode(None))
        times = np.arange(round(8000 * seconds)) / 8000
        pitch = 2 * np.pi * (1000 * times + 150 * direction * times**2)
        samples = np.round(8000 * np.sin(pitch)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux(audio.encode(frame))
        output.mux(audio.encode(None))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe; one clip in four is shorter than a crop."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for split, size in {"train": 8, "val": 4, "test": 5}.items():
        for i in range(size):
            name = f"{split}{i}"
            write_clip(folder / f"{name}.mkv", i % 2, i, 0.4 if i % 4 == 3 else 1.5)
            rows.append({"id": name, "split": split, "label": LABELS[i % 2], "clip": f"{name}.mkv"})
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    recipe = {
        "model": {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1, "dropout": 0.1},
        "data": {
            "manifest": "clips.csv",
            "crop": 0.64,
            "modalities": {
                "video": {"kind": "video", "column": "clip", "frames": 2, "size": 16},
                "audio": {"kind": "audio", "column": "clip", "seconds": 0.64, "rate": 8000, "mels": 16},
            },
        },
        "train": {"epochs": 2, "batch_size": 3, "tensorboard": False, "accelerator": "cpu", "augment": EVERYTHING},
    }
    path = folder / "clips.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def recipe(clips: Path) -> Recipe:
    return load_recipe(clips)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe that was never stopped."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    fit(recipe, path)
    return path


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


class PowerCutError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("number", [1, 4])
def test_a_resumed_run_ends_as_if_it_had_never_been_stopped(
    recipe: Recipe, whole: Path, tmp_path: Path, number: int
) -> None:
    def stop(done: int, total: int) -> None:
        if done == number:  # of three steps an epoch
            raise PowerCutError

    with pytest.raises(PowerCutError):
        fit(recipe, tmp_path / "run", on_step=stop)
    torch.rand(3)
    fit(recipe, tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == weights(whole)


def test_workers_change_nothing(clips: Path, whole: Path, tmp_path: Path) -> None:
    fit(load_recipe(clips, ["--data.workers", "2"]), tmp_path / "run")
    assert weights(tmp_path / "run") == weights(whole)


def test_crops_differ_from_epoch_to_epoch_and_from_seed_to_seed() -> None:
    def places(seed: int, epoch: int) -> list[tuple[int, float]]:
        sampler = CropSampler(EpochSampler(50, seed), seed)
        sampler.set_epoch(epoch)
        assert len(sampler) == 50
        return list(sampler)

    first = places(0, 0)
    assert first == places(0, 0)
    assert sorted(index for index, _ in first) == list(range(50))
    found = [place for _, place in first]
    assert 0 <= min(found) < 0.1
    assert 0.9 < max(found) < 1
    for other in (places(0, 1), places(1, 0)):
        assert not {place for _, place in other} & set(found)


def by_hand(run: Run, count: int) -> Tensor:
    """The mean of the logits of crops taken one at a time, for each sample of the test split."""
    dataset = ManifestDataset(run.recipe.data, "test", run.labels)
    answers = []
    for i in range(len(dataset)):
        logits = []
        for place in [0.5] if count == 1 else np.linspace(0, 1, count).tolist():
            batch = collate([dataset[i, place]], config=run.recipe.data)
            with torch.inference_mode():
                logits.append(run.model(batch.inputs, batch.lengths)[0])
        answers.append(sum(logits) / count)
    return torch.stack(answers)


@pytest.mark.parametrize("count", [1, 3])
def test_evaluate_and_predict_average_the_logits(
    whole: Path, clips: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.load(whole, ["--data.clips", str(count)])
    expected = by_hand(run, count)
    seen: list[Tensor] = []
    scores: Any = None

    def spy(task: Multiclass, labels: tuple[str, ...]) -> Any:
        nonlocal scores
        scores = scores_of(task, labels)
        update = scores.update
        scores.update = lambda logits, labels: (seen.append(logits), update(logits, labels))
        return scores

    scores_of = Multiclass.scores
    monkeypatch.setattr(Multiclass, "scores", spy)
    result = evaluate(run, device="cpu")
    torch.testing.assert_close(torch.cat(seen), expected, rtol=1e-4, atol=1e-5)
    assert result["samples"] == 5
    right = expected.argmax(dim=1) == torch.tensor([run.labels.index(LABELS[i % 2]) for i in range(5)])
    assert result["metrics"]["accuracy"] == pytest.approx(right.float().mean().item())
    answers = predict(run, [clips.parent / f"test{i}.mkv" for i in range(5)], device="cpu")
    for answer, logits in zip(answers, expected, strict=True):
        found = {guess["label"]: guess["score"] for guess in answer["predictions"]}
        probabilities = logits.softmax(dim=0).tolist()
        assert found == pytest.approx(dict(zip(run.labels, probabilities, strict=True)), abs=1e-5)


def test_several_clips_answer_otherwise_than_one(whole: Path) -> None:
    run = Run.load(whole)
    assert not torch.allclose(by_hand(run, 1), by_hand(run, 3))
