"""Kind `image`: a picture a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from locomt.data.kinds.media import MediaSource
from locomt.data.kinds.source import WHOLE, Excerpt, Sight
from locomt.data.media.box import check_box
from locomt.nn.config import ImageSpec

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from locomt.data.media.recording import OpenFile, Recording
    from locomt.data.shards.storage import Storage, Stored


@dataclass(frozen=True, kw_only=True)
class ImageSource(MediaSource):
    """A picture, or the frame that a clip shows in its middle, of what lies in `box`; the shorter side scaled to
    `size`, then the square in the middle. It has no place in time: a crop in time takes the same picture.

    Attributes:
        stream: which of the file's video streams.
        box: left, top, right and bottom of the part of the picture that is taken, in parts of it from 0 to 1; left out,
            all of it.
        size: height and width in pixels; a multiple of `patch`.
        patch: height and width of a token in pixels.
    """

    kind: ClassVar[str] = "image"
    holds: ClassVar[str] = "pixels"
    shaping: ClassVar[tuple[str, ...]] = ("size", "stream", "box")
    box: tuple[float, ...] | None = None
    size: int = 224
    patch: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "box", self.box and tuple(self.box))
        check_box(self.box)
        self.spec()

    def spec(self) -> ImageSpec:
        return ImageSpec(size=self.size, patch=self.patch)

    @property
    def max_steps(self) -> int:
        return 1

    def read(self, part: Recording, excerpt: Excerpt = WHOLE) -> list[UInt8[Tensor, "1 3 size size"]]:
        """The picture, whatever the excerpt.

        Raises:
            MediaError: it cannot be decoded.
        """
        return part.read_crops(1, (None,), size=self.size, stream=self.stream, box=self.box)

    def store(self, part: OpenFile, storage: Storage) -> Stored:
        """The picture alone, whatever `storage.fps` stores of videos."""
        from locomt.data.media.frame_times import pick
        from locomt.data.shards.encoding import encode_image
        from locomt.data.shards.storage import IMAGES, Stored

        clip = part.map_frames(
            lambda total, times: pick(total, times, 1, None),
            lambda pixels: encode_image(pixels, storage.images, storage.quality),
            size=self.size,
            stream=self.stream,
            box=self.box,
        )
        ((place, content),) = clip.frames.items()
        fields = {"total": clip.total, "places": [place], "chosen": [place]}
        return Stored([(f"000000.{IMAGES[storage.images]}", content)], fields)

    @classmethod
    def guess(cls, sight: Sight) -> dict[str, Any] | None:
        return {} if sight.still else None
