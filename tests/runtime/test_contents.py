"""What a bundle's document may say: anything else is refused in a line, whatever its checksums are."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from locomt.data.errors import DataError
from locomt.runtime import BundleError
from locomt.runtime.answers import answer
from locomt.runtime.bundle import feed
from locomt.runtime.contents import DOCUMENT, opened, sealed
from locomt.runtime.reading import Reader

MEDIA = {"column": "clip", "stream": None, "on_no_stream": "bad"}
SOURCES = {
    "v": {"kind": "video", **MEDIA, "frames": 4, "size": 16, "box": [0, 0, 1, 0.5]},
    "p": {"kind": "image", **MEDIA, "size": 16, "box": None},
    "s": {
        "kind": "audio", **MEDIA, "seconds": 1.0, "rate": 16000, "mels": 16, "window_ms": 25.0, "hop_ms": 10.0,
        "mean": -4.0, "std": 4.0, "filterbank": "htk",
    },
    "f": {"kind": "features", "column": "f", "dim": 3, "max_length": 4},
    "t": {"kind": "text", "column": "t", "max_length": 4, "tokenizer": "bytes"},
}  # fmt: skip
STEPS = {"window": 1, "step": 1, "tokens": 4, "fewest": 2}
SHAPES = {"v": [3, 16, 16], "p": [3, 16, 16], "s": [16], "f": [3], "t": []}
DTYPES = {"v": "uint8", "p": "uint8", "s": "float32", "f": "float32", "t": "int64"}
RIGHT = {
    "form": "onnx",
    "graph": "model.onnx",
    "inputs": {name: {**STEPS, "shape": shape, "dtype": DTYPES[name]} for name, shape in SHAPES.items()},
    "task": "temporal",
    "labels": ["a", "b"],
    "thresholds": {"event": 0.5},
    "data": {
        "modalities": SOURCES, "steps": ["f"], "seconds": 1.0, "step": 0.5, "smooth": 0.0, "crop": None, "clips": 1,
    },
    "pace": {"f": 2.0},
    "time_steps": 2,
    "cost": {},
    "versions": {"locomt": "0.1.0"},
}  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1e300, "x", "../x", [], ["x"], [[1]], {}, {"x": 1}, 2**40)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / DOCUMENT).unlink(missing_ok=True)
    for name in ("model.onnx", "examples.npz"):
        (folder / name).touch()
    (folder / DOCUMENT).write_text(sealed(document, folder))


def test_a_right_document_is_opened(tmp_path: Path) -> None:
    write(tmp_path, RIGHT)
    assert opened(tmp_path)["data"] == RIGHT["data"]


@pytest.mark.parametrize("gone", [False, True])
def test_wrong_values_are_refused_or_serve(tmp_path: Path, gone: bool) -> None:
    np.save(tmp_path / "f.npy", np.ones((2, 3)))
    refused = served = 0
    for *before, last in places(RIGHT):
        for value in (None,) if gone else VALUES:
            document = deepcopy(RIGHT)
            parent: Any = document
            for key in before:
                parent = parent[key]
            if gone:
                del parent[last]
            else:
                parent[last] = deepcopy(value)
            write(tmp_path, document)
            try:
                found = opened(tmp_path)
            except BundleError:
                refused += 1
                continue
            reader = Reader(tmp_path, found["data"])
            try:
                _, clips, _ = reader.read({"f": tmp_path / "f.npy", "t": "a text"})
            except DataError:
                continue
            if max(own["tokens"] for own in found["inputs"].values()) < 2**20:
                feed(found["inputs"], clips)
            answer(found, np.zeros((2, len(found["labels"])), np.float32), 1)
            served += 1
    assert refused > (50 if gone else 800)
    assert served > 0


@pytest.mark.parametrize("files", [{"../model.onnx": "0"}, {"/etc/passwd": "0"}, {"model.onnx": 1}, {}])
def test_files_lie_in_the_bundle(tmp_path: Path, files: dict[str, Any]) -> None:
    from locomt.runtime import contents

    write(tmp_path, RIGHT)
    document = json.loads((tmp_path / DOCUMENT).read_text())
    document["files"] = files
    document.pop("checksum")
    (tmp_path / DOCUMENT).write_text(json.dumps({**document, "checksum": contents._checksum(document)}))
    with pytest.raises(BundleError, match="the bundle is damaged: files"):
        opened(tmp_path)
