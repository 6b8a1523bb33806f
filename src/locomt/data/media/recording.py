"""What pictures and sound are read from: an open media file, a picture, or what a shard stores of either."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, UInt8
    from torch import Tensor

    from locomt.data.media.box import Box
    from locomt.data.media.crop import Crop
    from locomt.data.media.frame_times import FrameTimes

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Frames(Generic[Kept]):
    """Chosen frames of a clip.

    Attributes:
        total: frames of the whole clip.
        times: when each of all the frames is shown; None where only their order can be trusted.
        frames: place among all frames -> what was made of it, in the order of being shown.
    """

    total: int
    times: FrameTimes | None
    frames: dict[int, Kept]


class Sound(NamedTuple):
    """The sound of a file.

    Attributes:
        samples: one channel.
        begin: at what second of the container's clock it begins.
        silence: why nothing is heard of it; None where something is.
    """

    samples: Float[Tensor, " samples"]
    begin: float
    silence: str | None = None


class Recording(Protocol):
    """What sources read from; its text names the file, for the errors."""

    @property
    def span(self) -> tuple[float, float]:
        """From when to when it lasts, in seconds: by its header where that is reliable, else by its packets."""
        ...

    def sound_span(self, rate: int, stream: int | None = None) -> tuple[float, float]:
        """The same for its sound: as long as that where it is all there is.

        Its packets and its header count what codecs add at both ends.
        """
        ...

    def read_crops(
        self,
        count: int,
        crops: Sequence[Crop | None],
        *,
        size: int,
        stream: int | None = None,
        box: Box | None = None,
    ) -> list[UInt8[Tensor, "frames 3 size size"]]:
        """What `locomt.data.read_frames` gives for each of the crops; what several of them need is decoded once.

        Raises:
            NoStreamError, MediaError: as for `locomt.data.read_frames`.
            ShardError: the shard is damaged.
        """
        ...

    def read_audio(self, rate: int, stream: int | None = None) -> Sound:
        """What `locomt.data.read_audio` gives, at what second of the container's clock it begins, and if it is silent.

        Raises:
            NoStreamError, MediaError: as for `locomt.data.read_audio`.
            ShardError: the shard is damaged.
        """
        ...


class OpenFile(Recording, Protocol):
    """A recording that is an open file, of which any frame can be had."""

    @property
    def path(self) -> Path:
        """Of the file."""
        ...

    def map_frames(
        self,
        choose: Callable[[int, FrameTimes | None], Collection[int]],
        take: Callable[[UInt8[Tensor, "3 height width"]], Kept],
        *,
        size: int | None,
        stream: int | None = None,
        box: Box | None = None,
    ) -> Frames[Kept]:
        """Decode the frames that are chosen, one after the other, and keep what `take` makes of each.

        Args:
            choose: told how many frames there are and when each is shown (None where only their order can be
                trusted); says at which places the wanted ones are. Asked again where there turn out to be others.
            take: what is kept of a frame.
            size, stream, box: as for `locomt.data.read_frames`.

        Raises:
            NoStreamError, MediaError: as for `locomt.data.read_frames`.
        """
        ...
