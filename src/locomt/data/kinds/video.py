"""Kind `video`: frames of clips."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from locomt.data.kinds.media import ClipSource
from locomt.data.kinds.source import Sight
from locomt.data.media.box import check_box
from locomt.nn.config import VideoSpec

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from locomt.data.media.crop import Crop
    from locomt.data.media.frame_times import FrameTimes
    from locomt.data.media.recording import OpenFile, Recording
    from locomt.data.shards.storage import Storage, Stored


@dataclass(frozen=True, kw_only=True)
class VideoSource(ClipSource):
    """Frames spread evenly over a clip, of what lies in `box`; the shorter side scaled to `size`, then the square in
    the middle.

    Attributes:
        stream: which of the file's video streams.
        frames: how many. A clip that has fewer gives some of them several times.
        box: left, top, right and bottom of the part of the picture that is taken, in parts of it from 0 to 1; left out,
            all of it.
        size: height and width in pixels; a multiple of `patch`.
        patch: height and width of a token in pixels.
        tubelet: frames to a token; divides `frames`.
        differences: have the model see the frames less their mean, and their differences, see `locomt.nn.VideoSpec`.
    """

    kind: ClassVar[str] = "video"
    holds: ClassVar[str] = "pixels"
    shaping: ClassVar[tuple[str, ...]] = ("size", "frames", "stream", "box")
    by_fps: ClassVar[tuple[str, ...]] = ("frames",)
    frames: int = 8
    box: tuple[float, ...] | None = None
    size: int = 224
    patch: int = 16
    tubelet: int = 1
    differences: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "box", self.box and tuple(self.box))
        check_box(self.box)
        self.spec()

    def spec(self) -> VideoSpec:
        return VideoSpec(
            frames=self.frames,
            size=self.size,
            patch=self.patch,
            tubelet=self.tubelet,
            differences=self.differences,
        )

    @property
    def max_steps(self) -> int:
        return self.frames

    def read_crops(
        self, recording: Recording, crops: Sequence[Crop | None]
    ) -> list[UInt8[Tensor, "frames 3 size size"]]:
        return recording.read_crops(self.frames, crops, size=self.size, stream=self.stream, box=self.box)

    def read_first(self, recording: Recording, seconds: float) -> UInt8[Tensor, "frames 3 size size"]:
        import torch

        from locomt.data.media.crop import moments

        crops = moments(recording.span, seconds, self.frames)
        return torch.cat(recording.read_crops(1, crops, size=self.size, stream=self.stream, box=self.box))

    def store(self, part: OpenFile, storage: Storage) -> Stored:
        """The frames that are asked for, those of `storage.fps` besides, and when all of the clip are shown."""
        from locomt.data.media.frame_times import pick
        from locomt.data.shards.encoding import encode_image
        from locomt.data.shards.storage import IMAGES, Stored

        def choose(total: int, times: FrameTimes | None) -> set[int]:
            return set(pick(total, times, self.frames, None)) | set(_every(total, times, storage.fps))

        def encode(pixels: Tensor) -> bytes:
            return encode_image(pixels, storage.images, storage.quality)

        clip = part.map_frames(choose, encode, size=self.size, stream=self.stream, box=self.box)
        places, times = sorted(clip.frames), clip.times
        end = IMAGES[storage.images]
        members = [(f"{number:06d}.{end}", clip.frames[place]) for number, place in enumerate(places)]
        fields = {"span": part.span, "total": clip.total, "places": places}
        if storage.fps is None:  # no other frames can be asked for
            return Stored(members, {**fields, "chosen": pick(clip.total, times, self.frames, None)})
        known = times and {"seconds": times.begins, "end": times.end, "unit": times.unit}
        return Stored(members, {**fields, **(known or {})})

    @classmethod
    def guess(cls, sight: Sight) -> dict[str, Any] | None:
        return {} if sight.mostly(lambda info: bool(info.video)) and not sight.still else None


def _every(total: int, times: FrameTimes | None, fps: float | None) -> Sequence[int]:
    """The places of `fps` frames a second: the first that is shown in each of the equal stretches of time."""
    if fps is None:
        return ()
    if not fps or times is None:
        return range(total)
    seconds = times.begins
    last = int((seconds[-1] - seconds[0]) * fps)
    found = [bisect_left(seconds, seconds[0] + number / fps) for number in range(last + 1)]
    return [place for place in found if place < total]
