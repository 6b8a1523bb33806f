"""Feature files: three forms, checked before anything trains on them."""

import contextlib
import json
import struct
import tracemalloc
import warnings
import zipfile
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


def header(text: str) -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode("latin1")


def described(descr: str = "'<f4'", shape: str = "(4, 3)", order: str = "False") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n") + VECTORS.tobytes()


HEADERS = {
    "more than there is": described(shape="(1000000000000, 3)"),
    "more than can be": described(shape=f"({10**30}, 3)"),
    "negative": described(shape="(-4, 3)"),
    "overflowing": described(shape=f"({2**62}, 3)"),
    "no numbers": described(shape="(4.0, 3)"),
    "truth": described(shape="(True, 3)"),
    "a list": described(shape="[4, 3]"),
    "open": header("{'descr': '<f4', \n"),
    "open text": header("'''abc"),
    "deep": header("-" * 9000 + "1"),
    "deep brackets": header("(" * 300 + ")" * 300),
    "zeros": header("\0" * 30),
    "no type": described("()"),
    "no types": described("[('a',)]"),
    "unknown type": described("'<q9'"),
    "objects": described("'|O'"),
    "objects within": described("[('a', '|O')]"),
    "words": described("'<U3'"),
    "times": described("'<M8[s]'"),
    "rows as a type": described("'(3,)f4'", "(4,)"),
    "huge type": described("'V100000000000'"),
    "no order": described(order="3"),
    "a list as a key": header("{[]: 3}\n"),
    "another version": b"\x93NUMPY\x09\0" + bytes(99),
    "no end of a header": b"\x93NUMPY\2\0\xff\xff\xff\x7f" + b"x" * 99,
    "no array": b"hello " * 9,
}


@pytest.mark.parametrize("name", FORMS[:2])
@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_headers_that_lie_are_refused(content: bytes, name: str, tmp_path: Path) -> None:
    if name == "a.npy":
        (tmp_path / name).write_bytes(content)
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("features.npy", content)
    for dim in (3, None):
        with pytest.raises(FeatureError, match=r"not a whole|expected real numbers") as caught:
            read_features(tmp_path / name, dim=dim, max_length=2)
        assert str(tmp_path / name) in str(caught.value)


LIES: dict[str, dict[str, Any]] = {
    "more than there is": {"dtype": "F32", "shape": [10**12, 3], "data_offsets": [0, 48]},
    "beyond the end": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 10**12]},
    "negative": {"dtype": "F32", "shape": [-4, 3], "data_offsets": [0, 48]},
    "overflowing": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]},
    "half bytes": {"dtype": "F4", "shape": [8, 12], "data_offsets": [0, 48]},
    "complex": {"dtype": "C64", "shape": [2, 3], "data_offsets": [0, 48]},
    "unknown": {"dtype": "OBJ", "shape": [4, 3], "data_offsets": [0, 48]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_safetensors_that_lie_are_refused(lie: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps({"features": lie}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + VECTORS.tobytes())
    with pytest.raises(FeatureError, match=r"not a whole|expected real numbers"):
        read_features(tmp_path / "a.safetensors")


def member(path: Path, flag: int | None = None, method: int | None = None) -> None:
    """Say in an archive that its member is encrypted, or packed in another way."""
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\1\2")
    for place, value in ((6, flag), (8, method)):
        if value is not None:
            content[place], content[central + place + 2] = value, value
    path.write_bytes(content)


def repack(path: Path, way: int) -> None:
    with zipfile.ZipFile(path) as archive:
        content = archive.read("features.npy")
    with zipfile.ZipFile(path, "w", way) as archive:
        archive.writestr("features.npy", content)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: member(path, flag=1),
        lambda path: member(path, flag=1 << 5),
        lambda path: member(path, method=99),
        lambda path: repack(path, zipfile.ZIP_BZIP2),
        lambda path: repack(path, zipfile.ZIP_LZMA),
    ],
    ids=["encrypted", "patch", "unknown", "bzip2", "lzma"],
)
def test_archives_of_another_kind(change: Callable[[Path], None], tmp_path: Path) -> None:
    change(write(tmp_path / "a.npz", VECTORS))
    with pytest.raises(FeatureError, match=r"not a whole \.npz"):
        read_features(tmp_path / "a.npz")


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_archive_takes_the_memory_of_what_is_asked_for(order: Any, tmp_path: Path) -> None:
    tall = np.asarray(np.zeros((4_000_000, 3), np.float32), order=order)
    np.savez_compressed(tmp_path / "a.npz", tall)  # 48 MB in 50 kB
    tracemalloc.start()
    try:
        assert read_features(tmp_path / "a.npz", dim=3, max_length=8).shape == (8, 3)
        with pytest.raises(FeatureError, match="expected vectors of 4 numbers"):
            read_features(tmp_path / "a.npz", dim=4, max_length=8)
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FORMS[:2])
@pytest.mark.parametrize("count", [1, 3, 4, 9, None])
def test_leading_rows_in_either_order(count: int | None, name: str, tmp_path: Path) -> None:
    for array in (VECTORS, np.asfortranarray(VECTORS)):
        read = read_features(write(tmp_path / name, array), max_length=count)
        assert np.array_equal(read.numpy(), VECTORS[:count])


@pytest.mark.parametrize("name", FORMS)
def test_any_damage_is_a_feature_error(name: str, tmp_path: Path) -> None:
    path, rng = write(tmp_path / name, np.random.default_rng(0).normal(size=(20, 3))), np.random.default_rng(1)
    whole = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that a float32 cannot hold
        for _ in range(300):
            content = bytearray(whole)
            for place in rng.integers(0, min(len(content), 200), 2):
                content[-place if rng.random() < 0.3 else place] = rng.integers(0, 256)
            path.write_bytes(content)
            with contextlib.suppress(FeatureError):
                read_features(path, dim=3, max_length=8)
