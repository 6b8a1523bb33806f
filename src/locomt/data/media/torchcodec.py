"""Decoding by torchcodec, on the CPU or on a GPU, of the frames that PyAV would decode.

Which frames these are, and whether the file is whole, is told from its packets as ever. Sound is decoded by PyAV:
torchcodec would close the holes that missing packets leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn.functional import interpolate

from locomt.data.errors import MediaError
from locomt.data.media.box import Box, part_of
from locomt.data.media.container import stream_of
from locomt.data.media.crop import TICK, Crop
from locomt.data.media.frame_times import pick
from locomt.data.media.frames import is_mirrored, times_of
from locomt.data.media.pyav import MediaFile
from locomt.nn.config import ConfigError

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

OLDEST = (0, 12)
"""It is the first of which it was seen that it turns frames upright."""


@cache
def load_torchcodec() -> Any:
    """The module `torchcodec.decoders`.

    Raises:
        ConfigError: it is missing or too old, or it cannot be loaded beside this torch and this FFmpeg.
    """
    wanted = ".".join(map(str, OLDEST))
    try:
        found = version("torchcodec")
    except PackageNotFoundError:
        raise ConfigError(
            f"data.decoder: torchcodec is not installed; run `pip install 'torchcodec>={wanted}'`, with the build that "
            "fits this torch and with FFmpeg's libraries, or leave data.decoder out"
        ) from None
    if tuple(int(part) for part in found.split("+")[0].split(".")[:2]) < OLDEST:
        raise ConfigError(f"data.decoder: expected torchcodec {wanted} or later, got {found}")
    try:
        from torchcodec import decoders
    except (ImportError, OSError, RuntimeError) as error:  # whatever its libraries lack
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ConfigError(
            f"data.decoder: torchcodec {found} cannot be loaded beside torch {torch.__version__} "
            f"({lines[0] if lines else type(error).__name__}); it needs the build for this torch and FFmpeg's libraries"
        ) from None
    return decoders


class TorchcodecFile(MediaFile):
    """An open media file whose pictures torchcodec decodes."""

    device: ClassVar[str] = "cpu"

    @property
    def _address(self) -> str:
        return str(self.path.resolve())  # so that no name is taken for an address

    def read_crops(
        self,
        count: int,
        crops: Sequence[Crop | None],
        *,
        size: int | None,
        stream: int | None = None,
        box: Box | None = None,
    ) -> list[UInt8[Tensor, "frames 3 height width"]]:
        times = times_of(self, stream)
        if is_mirrored(self, stream):  # torchcodec turns frames, and knows no mirrors
            return super().read_crops(count, crops, size=size, stream=stream, box=box)
        index = stream_of(self.path, self.container, "video", stream).index
        with _naming(self.path):
            decoder = load_torchcodec().VideoDecoder(self._address, stream_index=index, device=self.device)
            total = len(times.begins) if times else len(decoder)
            chosen = [pick(total, times, count, crop) for crop in crops]
            places = sorted(set().union(*chosen))
            if times is None:
                found = decoder.get_frames_at(places)
            else:
                asked = torch.tensor([times.begins[place] for place in places], dtype=torch.float64)
                found = decoder.get_frames_played_at((asked + TICK / 2).tolist())
                if (found.pts_seconds.cpu().double() - asked).abs().max() > TICK:
                    begins = ", ".join(f"{second:.3f}" for second in asked.tolist())
                    raise MediaError(self.path, f"torchcodec has no frames that begin at {begins} s")
        pixels = _fitted(found.data, size, box).cpu()
        frames = dict(zip(places, pixels, strict=True))
        return [torch.stack([frames[place] for place in part]) for part in chosen]


class TorchcodecCudaFile(TorchcodecFile):
    """The same with frames decoded and scaled on the GPU; they come back to the CPU at their final size."""

    device: ClassVar[str] = "cuda"


def _fitted(
    pixels: UInt8[Tensor, "frames 3 height width"], size: int | None, box: Box | None
) -> UInt8[Tensor, "frames 3 size size"]:
    """The square in the middle, of what lies in the box, scaled as `locomt.data.read_frames` does it."""
    if box is not None:
        rows, columns = part_of(pixels.shape[2], pixels.shape[3], box)
        pixels = pixels[:, :, rows, columns]
    height, width = pixels.shape[2:]
    side = min(height, width)
    if size is None or (height, width) == (size, size):
        return pixels
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, :, top : top + side, left : left + side]
    if pixels.device.type == "cpu":
        return interpolate(square, (size, size), mode="bilinear", antialias=True)
    scaled = interpolate(square.float(), (size, size), mode="bilinear", antialias=True)  # CUDA has it for floats alone
    return scaled.round().clamp(0, 255).to(torch.uint8)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever torchcodec objects to within becomes a `MediaError` of this file."""
    try:
        yield
    except (RuntimeError, IndexError, ValueError) as error:
        if isinstance(error, MediaError | ConfigError):
            raise
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise MediaError(path, f"torchcodec cannot decode it ({line})") from None
