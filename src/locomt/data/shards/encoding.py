"""How frames, sound and features are stored in shards: to bytes and back. Nothing that is read here is executed."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from locomt.data.errors import ShardError
from locomt.data.media.samples import joined_plane
from locomt.data.npy import read_header

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8


def encode_image(pixels: UInt8[Tensor, "3 height width"], form: str, quality: int) -> bytes:
    """A frame as JPEG, its colours at full resolution, or as PNG, which loses nothing and needs no `quality`."""
    buffer = io.BytesIO()
    options = {"quality": quality, "subsampling": 0} if form == "jpeg" else {}
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, form, **options)
    return buffer.getvalue()


def decode_image(where: str, end: str, content: bytes, size: int) -> UInt8[Tensor, "3 size size"]:
    """A stored frame; `where` is for the errors.

    Raises:
        ShardError: it is no RGB image of that size.
    """
    name = end.rpartition(".")[2]
    try:
        with Image.open(io.BytesIO(content), formats=[{"jpg": "JPEG", "png": "PNG"}.get(name, "")]) as image:
            if (image.mode, image.size) != ("RGB", (size, size)):
                raise ShardError(where, f"expected an RGB image of {size} x {size}, got {image.mode} of {image.size}")
            pixels = np.array(image)
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError) as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(where, f"its {end} is no image that can be decoded: {error}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def encode_sound(samples: Float[Tensor, " samples"], rate: int, form: str) -> tuple[bytes, float]:
    """Sound as `.npy` of float32, which loses nothing, or as FLAC of 16 bits, and what to multiply the latter by.

    Full scale of the FLAC is the least power of two that no sample passes, so that sound which has 16 bits comes back
    exactly, quiet sound keeps its precision and what overshoots is not cut off.
    """
    if form == "npy":
        return encode_array(samples), 1.0
    peak = float(samples.abs().max()) * 2**15 / (2**15 - 1)
    scale = 2.0 ** math.ceil(math.log2(max(peak, 2.0**-100)))
    whole = (samples.double() * (2**15 / scale)).round().to(torch.int16).numpy()
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as output:
        stream: Any = output.add_stream("flac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(whole[None], format="s16", layout="mono")
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue(), scale


def decode_sound(where: str, end: str, content: bytes, scale: float) -> Float[Tensor, " samples"]:
    """Stored sound; `where` is for the errors.

    Raises:
        ShardError: it cannot be decoded.
    """
    if end == "npy":
        return decode_array(where, content, ndim=1)
    try:
        with av.open(io.BytesIO(content), "r", format="flac") as container:
            frames = list(container.decode(audio=0))
            whole = joined_plane(frames, 0)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise ShardError(where, f"its FLAC cannot be decoded: {error}") from None
    if whole.dtype != np.int16:
        raise ShardError(where, f"expected a FLAC of 16 bits, got {whole.dtype}")
    return torch.from_numpy(whole.astype(np.float32) * np.float32(scale / 2**15))


def encode_array(values: Tensor) -> bytes:
    """Numbers as a `.npy` file of float32."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values.contiguous().numpy().astype("<f4"), (1, 0), allow_pickle=False)
    return buffer.getvalue()


def decode_array(where: str, content: bytes, *, ndim: int) -> Tensor:
    """What `encode_array` wrote; `where` is for the errors. Numbers alone are taken from the bytes, never objects.

    Raises:
        ShardError: it is something else.
    """
    buffer = io.BytesIO(content)
    try:
        shape, fortran, dtype = read_header(buffer)
        if fortran or dtype != np.dtype("<f4") or len(shape) != ndim:
            raise ValueError(f"expected float32 of {ndim} dimensions, got {dtype} of shape {shape}")
        numbers = np.frombuffer(content, "<f4", offset=buffer.tell()).astype(np.float32).reshape(shape)
    except ValueError as error:
        raise ShardError(where, f"its .npy is not what was written: {error}") from None
    if not np.isfinite(numbers).all():
        raise ShardError(where, "expected finite numbers, got others")
    return torch.from_numpy(numbers)
