"""The leading vectors of a `.npy` file, or of one within an archive, without trusting what its header says."""

from __future__ import annotations

from typing import IO, Any

import numpy as np

CHUNK = 1 << 20
"""Bytes that are read at once where they are only passed over."""

Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""The shape, whether columns follow each other rather than rows, and the type of the numbers."""


def read_header(file: IO[bytes]) -> Header:
    """The header of a `.npy` file of numbers; `file` is left where the numbers begin.

    Raises:
        ValueError: it is no such header, or that of something else than real numbers, pickled objects among them.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:  # 3.0 is for the names of fields alone
        raise ValueError(f"expected a .npy file of version 1.0 or 2.0, got {'.'.join(map(str, version))}")
    try:
        shape, fortran, dtype = readers[version](file)
    except Exception as error:  # numpy lets out whatever its tokenizer, its evaluation and its types raise
        raise ValueError(f"its header is damaged ({error or type(error).__name__})") from None
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are not loaded: loading them may run code")
    if dtype.kind not in "fiu":
        raise ValueError(f"expected real numbers, got {dtype}")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"its header is damaged (shape {shape})")
    return shape, fortran, dtype


def read_rows(file: IO[bytes], header: Header, count: int | None, available: int) -> np.ndarray[Any, Any]:
    """The first `count` rows (all where it is None) of an array of one or two dimensions, one being a single row.

    Args:
        file: stands where the numbers begin; read on from there.
        header: what `read_header` gave.
        count: rows.
        available: bytes there are; no memory is taken where the header promises more.

    Raises:
        ValueError: there are fewer numbers than the header says.
    """
    (total, width), fortran, dtype = (1, *header[0])[-2:], *header[1:]
    if (promised := total * width * dtype.itemsize) > available:
        raise ValueError(f"truncated: its header promises {promised} bytes of numbers, there are {available}")
    rows = total if count is None else min(count, total)
    if not (fortran and rows):
        return _numbers(file, rows * width, dtype).reshape(rows, width)
    columns = []
    for _ in range(width):
        columns.append(_numbers(file, rows, dtype))
        pass_over(file, (total - rows) * dtype.itemsize)
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0), dtype)


def pass_over(file: IO[bytes], count: int | None = None) -> None:
    """Read on by so many bytes, or to the end, where an archive compares its checksum."""
    while piece := file.read(CHUNK if count is None else min(count, CHUNK)):
        count = None if count is None else count - len(piece)


def _numbers(file: IO[bytes], count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    content = file.read(count * dtype.itemsize)
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"truncated: expected {count * dtype.itemsize} bytes of numbers, got {len(content)}")
    return np.frombuffer(content, dtype)
