"""A folder with a folder for each class, as a manifest."""

from pathlib import Path

import numpy as np
import pytest

from locomt.data import DataConfig, ManifestDataset, ManifestError, Sample, label_list, read_manifest


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
