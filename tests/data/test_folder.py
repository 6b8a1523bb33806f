"""A folder with a folder for each class, as a manifest."""

from pathlib import Path

import numpy as np
import pytest

from locomt.data import DataConfig, ManifestDataset, ManifestError, Sample, label_list, read_manifest
from locomt.data.splits import usual_split


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, np.ones((2, 3)))
    return folder


def test_classes_are_folders(tmp_path: Path) -> None:
    names = [f"{label}/{n}.npy" for label in ("cat", "dog") for n in range(60)]
    rows = read_manifest(make(tmp_path, *names, "dog/deep/er.npy", "dog/.hidden.npy", ".git/config.npy"))
    assert [(row.id, row.cells["clip"]) for row in rows] == [(row.id, row.id) for row in rows]
    assert {row.id for row in rows} == {*names, "dog/deep/er.npy"}
    assert all(row.label == row.id.partition("/")[0] for row in rows)
    splits = {row.id: row.split for row in rows}
    assert 70 <= list(splits.values()).count("train") <= 115
    assert {"val", "test"} <= set(splits.values())
    make(tmp_path, "ape/1.npy")  # whatever is added, no sample moves to another split
    assert splits.items() <= {row.id: row.split for row in read_manifest(tmp_path)}.items()


def test_splits_may_be_folders_too(tmp_path: Path) -> None:
    folder = make(tmp_path, "train/cat/1.npy", "train/dog/1.npy", "val/cat/2.npy")
    found = {(row.split, row.label, row.id) for row in read_manifest(folder)}
    assert found == {
        ("train", "cat", "train/cat/1.npy"), ("train", "dog", "train/dog/1.npy"), ("val", "cat", "val/cat/2.npy"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("train", "validation", "test"), ("train", "val", "test")),
        (("Train", "Val", "Test"), ("train", "val", "test")),
        (("TRAINING", "dev", "evaluation"), ("train", "val", "test")),
        (("training_set", "valid", "test_set"), ("train", "val", "test")),
        (("train2017", "val2017"), ("train", "val")),
        (("Trainset", "Devel"), ("train", "val")),
        (("trn", "dev", "tst"), ("train", "val", "test")),
    ],
)
def test_splits_go_by_their_usual_names_in_any_case(
    names: tuple[str, ...], wanted: tuple[str, ...], tmp_path: Path
) -> None:
    make(tmp_path, *(f"{name}/{label}/1.npy" for name in names for label in ("cat", "dog")), "__MACOSX/Train/1.npy")
    found = {(row.split, row.label, row.id) for row in read_manifest(tmp_path)}
    assert found == {
        (split, label, f"{name}/{label}/1.npy")
        for name, split in zip(names, wanted, strict=True)
        for label in ("cat", "dog")
    }


@pytest.mark.parametrize("name", ["trainer", "devices", "trains", "test1", "trainval", "validated", "contest", "1", ""])
def test_names_that_are_no_splits(name: str) -> None:
    assert usual_split(name) is None


def test_a_class_may_be_called_as_a_split_below_the_splits(tmp_path: Path) -> None:
    make(tmp_path, *(f"{split}/{label}/1.npy" for split in ("train", "test") for label in ("bus", "train")))
    assert sorted({row.label for row in read_manifest(tmp_path)}) == ["bus", "train"]


@pytest.mark.parametrize(
    ("names", "messages"),
    [
        (("train/1.npy", "bus/1.npy", "car/1.npy"), ("'train' named as splits, 'bus', 'car' not", "rename the")),
        (("Train/cat/1.npy", "validation/cat/1.npy", "unlabelled/1.npy"),
         ("'Train', 'validation' named as splits, 'unlabelled' not", "write a manifest")),
        (("train/cat/1.npy", "valid/cat/1.npy", "val/cat/2.npy"), ("'val' and 'valid' both stand for",)),
        (("seg_train/cat/1.npy", "seg_test/cat/1.npy"), ("'seg_test', 'seg_train' look like splits", "call them")),
        (("train-clean/1/1.npy", "dev-clean/1/1.npy"), ("'dev-clean', 'train-clean' look like splits",)),
        (("cat/train/1.npy", "cat/test/2.npy", "dog/train/1.npy"),
         ("expected files in the folder of a class, got folders named as splits in 'cat': 'test', 'train'",)),
        (("clips/train/cat/1.npy", "clips/val/cat/1.npy"),
         ("or the folder 'clips' itself as the manifest, got folders named as splits in 'clips': 'train', 'val'",)),
        (("train/train/cat/1.npy", "test/test/cat/1.npy"),
         ("expected the folders of classes in a split, got folders named as splits in 'test': 'test'",)),
        (("train/a\x1b[31m.npy",), (r"in 'train', got the file 'a\x1b[31m.npy' beside them",)),
    ],
)  # fmt: skip
def test_folders_of_which_it_is_not_clear_what_they_are(
    names: tuple[str, ...], messages: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(make(tmp_path, *names))
    for message in messages:
        assert message in str(caught.value)


def test_a_data_set_of_it(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.npy", "train/dog/1.npy")
    lips = {"kind": "features", "column": "clip", "dim": 3, "max_length": 4}
    config = DataConfig(manifest=str(tmp_path), modalities={"lips": lips})
    dataset = ManifestDataset(config, "train", label_list(config))
    assert all(isinstance(dataset[n], Sample) for n in range(2))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "expected a row a sample, got none"),
        (("cat/1.npy", "stray.npy"), "expected a folder for each class, got the file 'stray.npy' beside them"),
        (("train/1.npy",), "expected a folder for each class in 'train', got the file '1.npy' beside them"),
    ],
)
def test_folders_that_are_none(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(make(tmp_path, *names))


def test_what_file_managers_leave_behind_is_no_sample(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.npy", "val/cat/2.npy")
    for place in ("Thumbs.db", "train/desktop.ini", "train/cat/Thumbs.db"):
        (tmp_path / place).write_bytes(b"?")
    assert [row.id for row in read_manifest(tmp_path)] == ["train/cat/1.npy", "val/cat/2.npy"]
