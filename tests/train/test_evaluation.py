"""Using finished runs: steps with labels, regression, encoded clips, and refusals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import yaml

import feature_project
from feature_project import read_rows, write_manifest
from locomt.data import ManifestDataset, collate
from locomt.train import Run, evaluate, fit, load_recipe, predict
from locomt.train.bad import TooManyBadSamplesError
from locomt.train.run_directory import RunError


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same data, which every test has a copy of."""
    folder = tmp_path_factory.mktemp("trained")
    fit(load_recipe(feature_project.make_project(folder / "project")), folder / "run")
    return folder / "run"


@pytest.fixture
def run(trained: Path, project: Path, tmp_path: Path) -> Run:
    """Beside the project, where its `config.yaml` looks for the data."""
    return Run.load(shutil.copytree(trained, tmp_path / "run"))


def test_evaluate_agrees_with_the_model_asked_by_hand(run: Run) -> None:
    dataset = ManifestDataset(run.recipe.data, "test", run.labels)
    guesses, labels = [], []
    for i in range(len(dataset)):  # one at a time: padding and batch order must not matter
        batch = collate([dataset[i]], config=run.recipe.data)
        with torch.inference_mode():
            guesses.append(run.model(batch.inputs, batch.lengths).argmax(-1).item())
        labels.append(batch.labels.item())
    result = evaluate(run, device="cpu")
    assert result["metrics"]["accuracy"] == pytest.approx(sk.accuracy_score(labels, guesses))
    recalls = sk.recall_score(labels, guesses, average=None, labels=[0, 1, 2], zero_division=0)
    assert [entry["recall"] for entry in result["per_class"].values()] == pytest.approx(list(recalls))
    assert (result["samples"], result["skipped"]) == (5, 0)


def test_evaluate_agrees_with_the_validation_while_training(run: Run) -> None:
    summary = json.loads((run.path / "summary.json").read_text())
    metrics = evaluate(run, "val", device="cpu")["metrics"]
    assert metrics == pytest.approx({name: summary[f"val_{name}"] for name in metrics})


def test_evaluate_reports_steps_and_what_it_skipped(run: Run, project: Path) -> None:
    (project.parent / "test1_motion.npy").unlink()
    run = Run.load(run.path, ["--data.max_bad", "0.2", "--train.batch_size", "2"])
    steps: list[tuple[int, int]] = []
    result = evaluate(run, on_step=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert (result["samples"], result["skipped"]) == (4, 1)
    with pytest.raises(TooManyBadSamplesError, match="1 of the 5 samples of split 'test'"):
        evaluate(Run.load(run.path))


def test_a_split_without_a_readable_sample(run: Run, project: Path) -> None:
    for path in project.parent.glob("test*_motion.npy"):
        path.unlink()
    with pytest.raises(ValueError, match="not one sample of split 'test' could be read"):
        evaluate(Run.load(run.path, ["--data.max_bad", "1"]))


def test_a_run_can_be_moved_together_with_its_data(run: Run, project: Path, tmp_path: Path) -> None:
    before = evaluate(run)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    project.parent.rename(elsewhere / "project")
    run.path.rename(elsewhere / "run")
    assert evaluate(Run.load(elsewhere / "run")) == before


def test_loading_refuses_another_model(run: Run) -> None:
    with pytest.raises(RunError, match="has depth 2, the recipe asks for 3; a trained model is used as"):
        Run.load(run.path, ["--model.depth", "3"])


def test_loading_a_damaged_model(run: Run) -> None:
    weights = run.path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        Run.load(run.path)


def test_loading_a_damaged_configuration(run: Run) -> None:
    (run.path / "model" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"model/config\.json: not valid JSON"):
        Run.load(run.path)


def test_one_file_needs_no_list(run: Run, project: Path) -> None:
    file = project.parent / "test1_motion.npy"
    expected = predict(run, [str(file)], device="cpu")
    assert predict(run, str(file), device="cpu") == predict(run, file, device="cpu") == expected
    (answer,) = predict(run, {"motion": file, "sound": project.parent / "test1_sound.npy"}, device="cpu")
    assert answer["file"].count("test1_") == 2
    with pytest.raises(ValueError, match="modality 'montion' is not one of motion, sound; did you mean 'motion'"):
        predict(run, {"montion": file})


def test_overrides_may_be_a_line_and_labels_may_not(run: Run) -> None:
    line = Run.load(run.path, "--data.max_bad 0.2 --train.batch_size=2")
    assert line.recipe == Run.load(run.path, ["--data.max_bad", "0.2", "--train.batch_size", "2"]).recipe
    with pytest.raises(ValueError, match="labels: expected a list of names, got the text 'left'"):
        ManifestDataset(run.recipe.data, "test", "left")


def test_labels_are_ranked_by_logits(run: Run, project: Path) -> None:
    """The softmax of all but the first rounds to 0."""
    with torch.no_grad():
        run.model.head.weight.zero_()
        run.model.head.bias.copy_(torch.tensor([-900.0, 500.0, -800.0]))
    (answer,) = predict(run, {"motion": project.parent / "test1_motion.npy"}, device="cpu")
    assert [guess["label"] for guess in answer["predictions"]] == ["right", "up", "left"]
    assert [guess["score"] for guess in answer["predictions"]] == [1, 0, 0]


def test_top_is_at_least_one(run: Run) -> None:
    with pytest.raises(ValueError, match="top 1 or more labels, got 0"):
        predict(run, ["clip.npy"], top=0)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_labels_for_steps(make_project: Callable[..., Path], tmp_path: Path, task: str) -> None:
    """The label of a step is where its vector is largest: the model must tell the steps of a sample apart."""
    recipe = make_project(task, epochs=15, optimizer="adamw", learning_rate=0.01)
    rows, rng = read_rows(recipe.parent), np.random.default_rng(0)
    for row in rows:
        classes = rng.integers(0, 3, size=len(np.load(recipe.parent / row["motion"])))
        for name in ("motion", "sound"):
            row[name] = f"{row['id']}_{name}.npy"
            np.save(recipe.parent / row[name], 3 * np.eye(6, dtype=np.float32)[classes])
        names = np.array(["left", "right", "up"] if task == "multiclass" else ["0", "0.5", "1"])
        row["label"] = ";".join(names[classes])
    write_manifest(recipe.parent, rows)
    options = ["--data.steps", "[motion, sound]", "--model.dropout", "0", "--model.drop_path", "0"]
    summary = fit(load_recipe(recipe, options), tmp_path / "run")
    steps = sum(row["label"].count(";") + 1 for row in rows if row["split"] == "test")
    trained = Run.load(tmp_path / "run")
    result = evaluate(trained)
    (answer,) = predict(trained, [{"motion": recipe.parent / rows[2]["motion"]}], top=1)
    assert [guess["step"] for guess in answer["predictions"]] == list(range(rows[2]["label"].count(";") + 1))
    if task == "multiclass":
        assert summary["val_accuracy"] > 0.9
        assert sum(entry["support"] for entry in result["per_class"].values()) == steps
        assert [guess["label"] for guess in answer["predictions"]] == rows[2]["label"].split(";")
    else:
        assert summary["val_mae"] < 0.3  # that of the mean label is 0.33
        assert {guess["label"] for guess in answer["predictions"]} == {"value"}


def write_clip(path: Path, shade: int, pitch: float) -> None:
    """A second of one shade of grey and one tone."""
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=8)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(8):
            image = np.full((32, 32, 3), shade, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())
        wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(16000) / 16000)
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(audio.encode(frame))
        container.mux(audio.encode())


def test_encoded_clips_from_file_to_label(tmp_path: Path) -> None:
    rows = []
    for i in range(6):
        write_clip(tmp_path / f"{i}.mp4", shade=(40, 200)[i % 2], pitch=(300, 2500)[i % 2])
        split = "train" if i < 4 else "val"
        rows.append({"id": str(i), "split": split, "label": ("low", "high")[i % 2], "clip": f"{i}.mp4"})
    write_manifest(tmp_path, rows)
    recipe = {
        "model": {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1},
        "data": {
            "manifest": "clips.csv",
            "modalities": {
                "video": {"kind": "video", "column": "clip", "frames": 2, "size": 32},
                "audio": {"kind": "audio", "column": "clip", "seconds": 0.96, "mels": 32},
            },
        },
        "train": {"epochs": 15, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.01, "tensorboard": False},
    }
    (tmp_path / "clips.yaml").write_text(yaml.safe_dump(recipe))
    summary = fit(load_recipe(tmp_path / "clips.yaml"), tmp_path / "run")
    assert summary["val_accuracy"] == 1
    write_clip(tmp_path / "new.mp4", shade=40, pitch=300)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "new.mp4").read_bytes()[:100])
    good, cut = predict(Run.load(tmp_path / "run"), [tmp_path / "new.mp4", tmp_path / "cut.mp4"], top=1)
    assert good["predictions"][0]["label"] == "low"
    assert cut["file"] == str(tmp_path / "cut.mp4")
    assert cut["error"]
