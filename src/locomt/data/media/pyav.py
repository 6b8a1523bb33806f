"""Decoding by PyAV: the pictures and the sound of an open media file, for however many crops."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locomt.data.media.box import Box
from locomt.data.media.container import opened, stream_of
from locomt.data.media.crop import Crop
from locomt.data.media.frame_times import FrameTimes
from locomt.data.media.frames import crops_of, fitted_array, map_frames
from locomt.data.media.packets import PacketFile
from locomt.data.media.recording import Frames, Kept, Sound
from locomt.data.media.sound import sound_of

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor


class MediaFile(PacketFile):
    """An open media file, decoded by PyAV; an `OpenFile`, valid while it is open.

    Args:
        path: the file, for the errors.
        container: of PyAV.
        arrays: give NumPy's arrays in place of tensors, and need no torch.
    """

    def __init__(self, path: Path, container: Any, *, arrays: bool = False) -> None:
        super().__init__(path, container)
        self.arrays = arrays
        self._sound: dict[tuple[int, int], Sound] = {}

    def sound_span(self, rate: int, stream: int | None = None) -> tuple[float, float]:
        if any(found.type != "audio" for found in self.streams):
            return self.span
        sound = self.read_audio(rate, stream)
        return sound.begin, sound.begin + len(sound.samples) / rate

    def read_crops(
        self,
        count: int,
        crops: Sequence[Crop | None],
        *,
        size: int | None,
        stream: int | None = None,
        box: Box | None = None,
    ) -> list[UInt8[Tensor, "frames 3 height width"]]:
        return crops_of(self, count, crops, size=size, stream=stream, box=box)

    def map_frames(
        self,
        choose: Callable[[int, FrameTimes | None], Collection[int]],
        take: Callable[[UInt8[Tensor, "3 height width"]], Kept],
        *,
        size: int | None,
        stream: int | None = None,
        box: Box | None = None,
    ) -> Frames[Kept]:
        fit = fitted_array if self.arrays else None
        return map_frames(self, choose, take, size=size, stream=stream, box=box, fit=fit)

    def read_audio(self, rate: int, stream: int | None = None) -> Sound:
        """As `Recording` promises; it is PyAV that decodes it, whatever decodes the pictures."""
        index = stream_of(self.path, self.container, "audio", stream).index
        if (index, rate) in self._sound:
            return self._sound[index, rate]
        if any(index == other for other, _ in self._sound):  # AAC's decoder draws its noise from where it left off
            with opened(self.path) as container:
                return MediaFile(self.path, container, arrays=self.arrays).read_audio(rate, stream)
        samples, begin, silence = sound_of(self, rate, stream)
        self._sound[index, rate] = Sound(_as_wanted(samples, self.arrays), begin, silence)
        return self._sound[index, rate]


def _as_wanted(samples: np.ndarray[Any, Any], arrays: bool) -> Any:
    if arrays:
        return samples
    import torch

    return torch.from_numpy(samples)
