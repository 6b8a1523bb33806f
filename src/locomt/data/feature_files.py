"""Feature files: `[time, dim]` numbers from .npy, .npz or .safetensors, checked before anything trains on them."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np

from locomt.data.errors import FeatureError
from locomt.data.media.plain import refusal
from locomt.data.npy import pass_over, read_header, read_rows

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Rows = TypeVar("Rows")

FEATURE_FILES = (".npy", ".npz", ".safetensors")
NAME = "features"
"""The array that is read where a .npz or .safetensors file holds several."""


def is_feature_file(path: Path) -> bool:
    """Whether a file is one by its name."""
    return path.suffix.lower() in FEATURE_FILES


def read_features(
    path: str | Path, *, dim: int | None = None, max_length: int | None = None, steps: int | None = None
) -> Float[Tensor, "time dim"]:
    """Read a feature file; one vector `[dim]` counts as a sequence of one. Nothing in the file is executed.

    Args:
        path: a .npy, .npz or .safetensors file with one array, or several of which one is called `features`.
        dim: how long a vector must be.
        max_length: read the first so many vectors alone.
        steps: how many vectors the whole file must hold.

    Raises:
        FeatureError: it holds something else, or numbers that are not finite.
    """
    import torch

    return torch.from_numpy(read_vectors(path, dim=dim, max_length=max_length, steps=steps))


def read_vectors(
    path: str | Path, *, dim: int | None = None, max_length: int | None = None, steps: int | None = None
) -> np.ndarray[Any, Any]:
    """What `read_features` gives, as an array."""
    features, shape = leading_vectors(Path(path), max_length, dim)
    check_features(path, features, shape, dim=dim, steps=steps)
    return features


Found = tuple[np.ndarray[Any, Any], Sequence[int]]
"""The leading rows, and the shape of the whole array."""


def leading_vectors(path: Path, max_length: int | None, dim: int | None = None) -> Found:
    """The first vectors of a feature file, of which nothing but their size is checked, and that before they are read.

    Raises:
        FeatureError: it is no feature file, or one of vectors of another size than `dim`.
    """
    readers = {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix.lower() not in readers:
        raise FeatureError(path, f"expected a file that ends in {', '.join(FEATURE_FILES)}, got {path.suffix!r}")
    if reason := refusal(path, "a feature file"):
        raise FeatureError(path, reason)
    try:
        return readers[path.suffix.lower()](path, max_length, dim)
    except ValueError as error:
        if isinstance(error, FeatureError):
            raise
        raise FeatureError(path, f"not a whole {path.suffix} file of numbers: {error}") from None


def check_features(
    path: str | Path, features: Rows, shape: Sequence[int], *, dim: int | None = None, steps: int | None = None
) -> Rows:
    """The leading rows of an array of this shape, if they are what was expected of them; `path` is for the errors."""
    _check_shape(path, shape, dim)
    count = vector_count(shape)
    if steps is not None and count != steps:
        raise FeatureError(path, f"expected {steps} vectors, one a label, got {count}")
    if not count:
        raise FeatureError(path, f"expected one vector or more, got an array of shape {list(shape)}")
    finite = np.isfinite(numbers := np.asarray(features)).all(axis=1)
    if not finite.all():
        first = int(finite.argmin())
        what = "NaN" if np.isnan(numbers[first]).any() else "an infinite number"
        raise FeatureError(path, f"expected finite numbers, got {what} in row {first + 1} of {count}")
    return features


def vector_count(shape: Sequence[int]) -> int:
    """How many vectors an array of this shape holds: `[dim]` is one."""
    return shape[0] if len(shape) == 2 else 1


def _read_npy(path: Path, max_length: int | None, dim: int | None) -> Found:
    with path.open("rb") as file:
        return _leading_rows(path, file, path.stat().st_size, max_length, dim)


def _read_npz(path: Path, max_length: int | None, dim: int | None) -> Found:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            member = members[_pick(path, list(members))]
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # The decoders of the others give all at once, however much that is.
                raise ValueError("it is packed in another way than numpy packs")
            with archive.open(member) as file:
                found = _leading_rows(path, file, member.file_size, max_length, dim)
                pass_over(file)
                return found
    except _ZIP_ERRORS as error:
        raise ValueError(error) from None


_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError)
"""What zipfile lets out where an archive is damaged, encrypted (RuntimeError) or of a kind that it does not know."""


def _leading_rows(path: Path, file: IO[bytes], size: int, max_length: int | None, dim: int | None) -> Found:
    header = read_header(file)
    _check_shape(path, header[0], dim)
    rows = read_rows(file, header, max_length, size - file.tell())
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is named as such
        return rows.astype(np.float32), header[0]


def _read_safetensors(path: Path, max_length: int | None, dim: int | None) -> Found:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            part = archive.get_slice(_pick(path, list(archive.keys())))
            shape = part.get_shape()
            _check_shape(path, shape, dim)
            if not re.fullmatch(r"(F|BF|I|U)(8|16|32|64)", part.get_dtype()):
                raise FeatureError(path, f"expected real numbers, got {part.get_dtype()}")
            rows = part[:max_length] if len(shape) == 2 else part[:][None]
    except SafetensorError as error:
        raise FeatureError(path, f"not a whole .safetensors file: {error}") from None
    return rows.float().numpy(), shape


def _pick(path: Path, names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if NAME in names:
        return NAME
    raise FeatureError(path, f"expected one array, or one called {NAME!r}, got {', '.join(names) or 'none'}")


def _check_shape(path: str | Path, shape: Sequence[int], dim: int | None) -> None:
    if len(shape) not in (1, 2):
        raise FeatureError(path, f"expected an array [time, dim] or [dim], got shape {list(shape)}")
    if dim is not None and shape[-1] != dim:
        raise FeatureError(path, f"expected vectors of {dim} numbers, got an array of shape {list(shape)}")
