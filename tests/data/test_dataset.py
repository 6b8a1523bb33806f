"""Data sets: whatever is wrong with one row is a bad sample that names file and row, and nothing else stops."""

import csv
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from locomt.data import (
    BadSample,
    Batch,
    DataConfig,
    FileDataset,
    ManifestDataset,
    ManifestError,
    Sample,
    collate,
    label_list,
)
from locomt.nn.config import FusionConfig
from locomt.nn.model import FusionModel
from media_clips import add_audio, add_video, pictures, tone, write_audio, write_clip, write_video

MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 2, "size": 32, "patch": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 0.5, "mels": 32},
    "lips": {"kind": "features", "column": "lips", "dim": 3, "max_length": 4},
    "title": {"kind": "text", "column": "title", "max_length": 8},
}
GOOD = {"id": "0", "split": "train", "label": "cat", "clip": "clips/good.mkv", "lips": "good.npy", "title": "hello"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    write_clip(
        tmp_path / "clips" / "good.mkv",
        lambda output: add_video(output, pictures(10)),
        lambda output: add_audio(output, tone(0.4, 16000)[None], 16000),
    )
    np.save(tmp_path / "good.npy", np.ones((3, 3), np.float32))
    return tmp_path


def write(folder: Path, *rows: dict[str, str], **changes: Any) -> DataConfig:
    with (folder / "m.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(GOOD))
        writer.writeheader()
        writer.writerows({**GOOD, "id": str(n), **row} for n, row in enumerate(rows))
    return DataConfig(**{"manifest": str(folder / "m.csv"), "modalities": MODALITIES, **changes})


def test_a_sample_has_what_its_row_has(folder: Path) -> None:
    config = write(folder, {}, {"clip": "", "label": "dog"}, {"lips": "", "title": " "}, {"split": "val"})
    dataset = ManifestDataset(config, "train", label_list(config))
    assert len(dataset) == 3
    first, second, third = (dataset[n] for n in range(3))
    assert isinstance(first, Sample)
    assert {name: tuple(tensor.shape) for name, tensor in first.inputs.items()} == {
        "video": (2, 3, 32, 32),
        "audio": (40, 32),
        "lips": (3, 3),
        "title": (5,),
    }
    assert (first.id, first.label) == ("0", torch.tensor(0))
    assert isinstance(second, Sample)
    assert (list(second.inputs), second.label) == (["lips", "title"], torch.tensor(1))
    assert isinstance(third, Sample)
    assert list(third.inputs) == ["video", "audio"]
    assert len(ManifestDataset(config, "test", label_list(config))) == 0


def truncated(folder: Path) -> str:
    path = write_video(folder / "cut.mp4", pictures(30), "libx264")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path.name


def empty(folder: Path) -> str:
    (folder / "empty.mp4").touch()
    return "empty.mp4"


def silent(folder: Path) -> str:
    write_clip(
        folder / "silent.mkv",
        lambda output: add_video(output, pictures(10)),
        lambda output: add_audio(output, np.zeros((1, 8000)), 16000),
    )
    return "silent.mkv"


def without_sound(folder: Path) -> str:
    return write_video(folder / "mute.mkv", pictures(3)).name


def nan(folder: Path) -> str:
    np.save(folder / "nan.npy", np.full((3, 3), np.nan))
    return "nan.npy"


def narrow(folder: Path) -> str:
    np.save(folder / "narrow.npy", np.ones((3, 2)))
    return "narrow.npy"


@pytest.mark.parametrize(
    ("column", "make", "reason"),
    [
        ("clip", truncated, "cannot be decoded"),
        ("clip", empty, "the file is empty"),
        ("clip", silent, "all-zero audio throughout"),
        ("clip", without_sound, "there is no audio stream"),
        ("clip", lambda _: "typo.mkv", "there is no such file"),
        ("clip", lambda _: "../elsewhere.mkv", "'../elsewhere.mkv' leads out of the manifest's folder"),
        ("clip", lambda _: "https://example.com/a.mp4", "there is no such file"),
        ("lips", nan, "got NaN in row 1 of 3"),
        ("lips", narrow, "expected vectors of 3 numbers"),
        ("label", lambda _: "cta", "label 'cta' is not on the list; did you mean 'cat'?"),
        ("label", lambda _: "", "expected a label, got an empty cell"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_is_wrong_with_one_row_is_named_and_leaves_the_others_alone(
    column: str, make: Callable[[Path], str], reason: str, folder: Path
) -> None:
    cell = make(folder)
    config = write(folder, {}, {column: cell}, {})
    dataset = ManifestDataset(config, "train", ["cat", "dog"])
    before, bad, after = (dataset[n] for n in range(3))
    assert isinstance(before, Sample)
    assert isinstance(after, Sample)
    assert isinstance(bad, BadSample)
    assert (bad.id, bad.row) == ("1", 3)
    assert reason in bad.reason
    in_manifest = column == "label" or "leads out" in reason
    assert bad.file == (config.manifest if in_manifest else str(folder / cell.replace("//", "/")))
    batch = collate([before, bad, after], config=config)
    assert (batch.ids, batch.bad) == (["0", "2"], [bad])


def test_a_row_without_any_modality(folder: Path) -> None:
    dataset = ManifestDataset(write(folder, {"clip": "", "lips": "", "title": ""}), "train", ["cat"])
    assert dataset[0] == BadSample("0", 2, str(folder / "m.csv"), "every modality of the row is empty")


def test_files_outside_when_allowed(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    row = {"clip": "../clips/good.mkv", "lips": str(folder / "good.npy")}
    assert isinstance(ManifestDataset(write(inner, row, allow_outside=True), "train", ["cat"])[0], Sample)
    assert isinstance(ManifestDataset(write(inner, row), "train", ["cat"])[0], BadSample)


def test_missing_columns_stop_at_once(folder: Path) -> None:
    config = write(folder, {}, modalities={**MODALITIES, "face": {"kind": "video", "column": "clp"}})
    with pytest.raises(ManifestError, match=r"expected a column 'clp', got .*; did you mean 'clip'\?"):
        ManifestDataset(config, "train", ["cat"])


def only(*names: str) -> dict[str, Any]:
    return {name: MODALITIES[name] for name in names}


def test_labels_of_steps(folder: Path) -> None:
    config = write(
        folder,
        {"label": "a;b;a"},
        {"label": "a;b"},
        {"label": "a;b;a", "lips": ""},
        {"label": "a;b;a;b;a;b", "lips": "long.npy"},
        modalities=only("lips", "title"),
        steps=["lips"],
    )
    np.save(folder / "long.npy", np.ones((6, 3)))
    dataset = ManifestDataset(config, "train", label_list(config))
    first, short, lacking, long = (dataset[n] for n in range(4))
    assert isinstance(first, Sample)
    assert torch.equal(first.label, torch.tensor([0, 1, 0]))
    assert isinstance(short, BadSample)
    assert short.reason == "expected 2 vectors, one a label, got 3"
    assert isinstance(lacking, BadSample)
    assert "the labels belong to the steps of lips" in lacking.reason
    assert isinstance(long, Sample)
    assert torch.equal(long.label, torch.tensor([0, 1, 0, 1]))  # as long as the input, which max_length cuts
    batch = collate([first, long], config=config)
    assert batch.labels.tolist() == [[0, 1, 0, -100], [0, 1, 0, 1]]


@pytest.mark.parametrize("cache", [False, True])
def test_cache_reads_once_what_is_there_and_looks_again_for_what_is_not(
    cache: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(folder, {}, {"clip": silent(folder)}, {"clip": "later.mkv", "lips": ""}, cache=cache)
    first, other = (ManifestDataset(config, "train", ["cat"]) for _ in range(2))
    read: list[str] = []
    for source in {type(source) for source in config.modalities.values()}:
        given = source.read
        monkeypatch.setattr(source, "read", lambda *args, given=given: read.append(args[0].kind) or given(*args))
    seen = [(dataset[0], dataset[1]) for dataset in (first, first, other)]
    assert read == ["video", "audio", "features", "text", "video", "audio"] * (1 if cache else 3)
    for good, bad in seen:
        assert isinstance(good, Sample)
        assert bad == BadSample("1", 3, str(folder / "silent.mkv"), "all-zero audio throughout")
        for name, tensor in seen[0][0].inputs.items():
            assert torch.equal(good.inputs[name], tensor)
            assert (good.inputs[name] is tensor) == (cache or good is seen[0][0])
    assert first[2] == BadSample("2", 4, str(folder / "later.mkv"), "there is no such file")
    shutil.copy(folder / "clips" / "good.mkv", folder / "later.mkv")
    assert isinstance(first[2], Sample)


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_give_the_same_with_and_without_workers(workers: int, folder: Path) -> None:
    config = write(folder, {}, {"clip": "typo.mkv"}, {"clip": ""})
    dataset = pickle.loads(pickle.dumps(ManifestDataset(config, "train", ["cat"])))
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        batch_size=3,
        num_workers=workers,
        collate_fn=Collate(config),
        multiprocessing_context="spawn" if workers else None,
    )
    (batch,) = loader
    assert (batch.ids, [bad.row for bad in batch.bad]) == (["0", "2"], [3])
    wanted = collate([dataset[n] for n in range(3)], config=config)
    assert all(torch.equal(batch.inputs[name], wanted.inputs[name]) for name in wanted.inputs)


class Collate:
    """Travels to a worker that is spawned."""

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    def __call__(self, samples: list[Sample | BadSample]) -> Batch:
        return collate(samples, config=self.config)


def test_a_model_takes_what_comes_out(folder: Path) -> None:
    config = write(folder, {}, {"clip": ""}, {"title": "", "lips": ""})
    dataset = ManifestDataset(config, "train", ["cat", "dog"])
    batch = collate([dataset[n] for n in range(3)], config=config)
    specs = {name: source.spec() for name, source in config.modalities.items()}
    model = FusionModel(FusionConfig(dim=12, heads=2, depth=2, fusion_layers=1, modalities=specs, num_outputs=2)).eval()
    together = model(batch.inputs, batch.lengths)
    for n in range(3):
        alone = collate([dataset[n]], config=config)
        assert torch.allclose(model(alone.inputs, alone.lengths)[0], together[n], atol=1e-5)


def test_files_without_a_manifest(folder: Path) -> None:
    write_audio(folder / "a.wav", tone(0.5, 16000)[None], 16000)
    write_video(folder / "mute.mkv", pictures(3))
    (folder / "notes.txt").write_text("no media")
    config = DataConfig(manifest="unused.csv", modalities=MODALITIES)
    names = ["clips/good.mkv", "a.wav", "mute.mkv", "good.npy"]
    dataset = FileDataset(config, [*(folder / name for name in names), {"title": "hi", "video": folder / "mute.mkv"}])
    samples = [dataset[n] for n in range(len(dataset))]
    assert all(isinstance(sample, Sample) for sample in samples)
    assert [sorted(sample.inputs) for sample in samples] == [
        ["audio", "video"], ["audio"], ["video"], ["lips"], ["title", "video"],
    ]  # fmt: skip
    assert samples[0].id == str(folder / names[0])
    assert collate([samples[0]], config=config).labels.shape == (0,)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("notes.txt", "no media file"),
        ("missing.mkv", "there is no such file"),
        ("missing.npy", "there is no such file"),
        ({"audio": "mute.mkv"}, "there is no audio stream"),
    ],
)
def test_files_that_cannot_be_read(item: Any, reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    write_video(folder / "mute.mkv", pictures(3))
    (folder / "notes.txt").write_text("no media")
    bad = FileDataset(DataConfig(manifest="unused.csv", modalities=MODALITIES), [item])[0]
    assert isinstance(bad, BadSample)
    assert reason in bad.reason


def test_files_of_which_no_modality_can_be_read(folder: Path) -> None:
    write_audio(folder / "a.wav", tone(0.5, 16000)[None], 16000)
    seen = FileDataset(DataConfig(manifest="unused.csv", modalities=only("video")), [folder / "a.wav"])[0]
    assert isinstance(seen, BadSample)
    assert "there is no video stream" in seen.reason
    vectors = FileDataset(DataConfig(manifest="unused.csv", modalities=only("video")), [folder / "good.npy"])[0]
    assert isinstance(vectors, BadSample)
    assert "none of the modalities video (video)" in vectors.reason
    with pytest.raises(ValueError, match="modality 'sound' is not one of video"):
        FileDataset(DataConfig(manifest="unused.csv", modalities=only("video")), [{"sound": "a.wav"}])
