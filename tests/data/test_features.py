"""Feature files: three forms, checked before anything trains on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from locomt.data import FeatureError, FeatureSource, read_features

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


def write(path: Path, array: np.ndarray, **others: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, features=array, **others)
    else:
        save_file({"features": np.ascontiguousarray(array), **others}, path)
    return path


FORMS = ["a.npy", "a.npz", "a.safetensors"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize("name", FORMS)
def test_any_form_and_type(name: str, dtype: Any, tmp_path: Path) -> None:
    features = read_features(write(tmp_path / name, VECTORS.astype(dtype)), dim=3)
    assert features.dtype == torch.float32
    assert np.array_equal(features.numpy(), VECTORS)


@pytest.mark.parametrize("name", FORMS)
def test_the_first_vectors_of_a_long_file(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, VECTORS)
    assert np.array_equal(read_features(path, max_length=2).numpy(), VECTORS[:2])
    source = FeatureSource(column="f", dim=3, max_length=2)
    assert source.load(path, 4).shape == (2, 3)


@pytest.mark.parametrize("name", FORMS)
def test_one_vector_is_a_sequence_of_one(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, VECTORS[1])
    assert np.array_equal(read_features(path, dim=3, steps=1).numpy(), VECTORS[1:2])


@pytest.mark.parametrize("name", FORMS[1:])
def test_the_array_called_features(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, VECTORS, other=np.zeros((2, 2), np.float32))
    assert np.array_equal(read_features(path).numpy(), VECTORS)


def test_fortran_order_and_foreign_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(VECTORS.astype(">f8")))
    assert np.array_equal(read_features(path).numpy(), VECTORS)


def test_what_is_read_can_be_written_to(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", VECTORS)
    read_features(path).zero_()
    assert np.array_equal(np.load(path), VECTORS)


def broken(value: float) -> np.ndarray:
    array = VECTORS.copy()
    array[2, 1] = value
    return array


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (broken(np.nan), "got NaN in row 3 of 4"),
        (broken(-np.inf), "got an infinite number in row 3 of 4"),
        (VECTORS.astype(np.float64) * 1e300, "got an infinite number in row 1 of 4"),
        (VECTORS[:, :2], "expected vectors of 3 numbers, got an array of shape [4, 2]"),
        (VECTORS[:0], "expected one vector or more"),
        (VECTORS[None], "expected an array [time, dim] or [dim], got shape [1, 4, 3]"),
        (VECTORS > 2, "expected real numbers, got"),
    ],
    ids=["nan", "inf", "too large", "dim", "empty", "three axes", "bool"],
)
def test_what_is_in_the_file_is_checked(name: str, array: np.ndarray, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, array)
    with pytest.raises(FeatureError) as caught:
        read_features(path, dim=3)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_labels_must_match_the_whole_file(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="expected 3 vectors, one a label, got 4"):
        read_features(write(tmp_path / "a.npy", VECTORS), steps=3, max_length=3)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "not a whole"),
        (lambda path: path.write_bytes(b""), "not a whole"),
        (lambda path: path.write_bytes(b"hello " * 9), "not a whole"),
        (lambda path: path.unlink(), "there is no such file"),
    ],
    ids=["truncated", "empty", "text", "missing"],
)
def test_files_that_are_not_whole(name: str, damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, VECTORS)
    damage(path)
    with pytest.raises(FeatureError, match=message):
        read_features(path)


@pytest.mark.parametrize("name", FORMS[:2])
def test_pickles_are_not_run(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, np.array([Trap()], dtype=object))
    with pytest.raises(FeatureError, match=r"not a whole \.np[yz] file of numbers: .*[oO]bject"):
        read_features(tmp_path / name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FORMS)
def test_what_another_form_is_called(name: str, form: str, tmp_path: Path) -> None:
    write(tmp_path / form, VECTORS).rename(tmp_path / "a.tmp")
    (tmp_path / "a.tmp").rename(tmp_path / name)
    if name == form:
        assert len(read_features(tmp_path / name)) == 4
    else:
        with pytest.raises(FeatureError, match="not a whole"):
            read_features(tmp_path / name)


@pytest.mark.parametrize("place", [100, 250])
def test_a_damaged_archive(place: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, features=np.random.default_rng(0).normal(size=(50, 3)))
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FeatureError, match="not a whole"):
        read_features(path)


class Trap:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was run",)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"expected a file that ends in \.npy, \.npz, \.safetensors, got '\.pt'"):
        read_features(tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", x=VECTORS, y=VECTORS)
    with pytest.raises(FeatureError, match="expected one array, or one called 'features', got x, y"):
        read_features(tmp_path / "a.npz")
