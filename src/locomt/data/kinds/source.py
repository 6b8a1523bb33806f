"""What every kind of modality is to the rest: a source, which says how a cell of a manifest becomes a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from locomt.nn.config import ModalitySpec
from locomt.nn.fields import check_types
from locomt.require import require

if TYPE_CHECKING:
    from torch import Tensor

    from locomt.data.media.info import MediaInfo
    from locomt.data.media.read import MediaFiles
    from locomt.data.shards.storage import Storage, Stored

# The modules that decode are imported when something is read: a recipe is read without torch and PyAV.

LACKING = ("bad", "missing")
"""What a sample is that lacks a stream or sound: a bad sample, or one without that modality."""


@dataclass(frozen=True)
class Excerpt:
    """What is read of a sample: all of it, crops, or its beginning. What has no time axis is read whole.

    Attributes:
        crop: seconds that each crop of a recording lasts.
        places: where the crops are taken, from 0, the first there is, to 1, the last.
        seconds: how much of a recording is read from its beginning, in place of crops.
        steps: how many steps the whole of it must have, where each of them has a label.
    """

    crop: float | None = None
    places: tuple[float, ...] = (0.5,)
    seconds: float | None = None
    steps: int | None = None


WHOLE = Excerpt()


@dataclass(frozen=True)
class Sight:
    """What is seen of a column of a manifest by which its kind is guessed.

    Attributes:
        cells: the first that are not empty.
        files: those of them that are there.
        media: what those of these say of themselves that hold pictures or sound.
    """

    cells: Sequence[str]
    files: Sequence[Path]
    media: Sequence[MediaInfo]

    def mostly(self, holds: Callable[[MediaInfo], bool]) -> bool:
        """Whether half of the media or more are so: the first may be the odd one."""
        return bool(self.media) and 2 * sum(map(holds, self.media)) >= len(self.media)

    @property
    def still(self) -> bool:
        """Whether each of the media is a single picture."""
        return bool(self.media) and all(info.video is not None and info.video.frames == 1 for info in self.media)


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a modality is read from its cell of a manifest, validated when made. A kind is a class of these.

    What is read from, the part, is what `open` gives for a file that a cell names; a `StoredPart` of a shard, which
    reads as it does; or the cell itself where it names no file.

    Attributes:
        kind: what recipes call it.
        holds: what its tensors are: `pixels`, `spectrogram`, `vectors` or `ids`, by which augmentation goes.
        names_file: whether a cell names a file.
        has_time: whether its steps lie in time, so that it can tell when something happens.
        token_a_step: whether a step is a token, so that it can have a label.
        shaping: the fields that say what shards store; all others are free when the shards are read.
        by_fps: those of them which may change where shards store so many frames a second besides.
        shorter: those of them which may be less than what is stored.
        column: the manifest's column that holds this modality.
    """

    kind: ClassVar[str]
    holds: ClassVar[str]
    names_file: ClassVar[bool] = True
    has_time: ClassVar[bool] = False
    token_a_step: ClassVar[bool] = False
    shaping: ClassVar[tuple[str, ...]] = ()
    by_fps: ClassVar[tuple[str, ...]] = ()
    shorter: ClassVar[tuple[str, ...]] = ()
    column: str

    def __post_init__(self) -> None:
        check_types(self)
        require(bool(self.column), "column: expected the name of a column of the manifest, got nothing")

    def spec(self) -> ModalitySpec:
        """What it is to a model."""
        raise NotImplementedError

    @property
    def checkpoints(self) -> Mapping[str, str]:
        """The fields that name a pretrained model or its tokenizer -> the folder or id that they name."""
        return {}

    def located(self, place: Callable[[str], str]) -> Source:
        """The same source; `place` makes a folder that it names from the recipe's folder absolute."""
        return self

    @property
    def max_steps(self) -> int:
        """The most steps that are read."""
        raise NotImplementedError

    @property
    def room(self) -> float:
        """The most seconds of an excerpt that fit into it."""
        return math.inf

    def rate_in(self, seconds: float) -> float:
        """Steps a second where the first `seconds` of recordings are read; of kinds with a time axis."""
        return self.max_steps / seconds

    def leaves_out(self, lacking: str) -> bool:
        """Whether a sample whose file lacks what is read is a sample without it; `lacking` is the error's `kind`."""
        return bool(lacking) and getattr(self, f"on_{lacking}", "bad") == "missing"

    @classmethod
    def takes(cls, file: Path) -> bool:
        """Whether it is read from a file of this name, where nothing says which modality the file holds."""
        return False

    def open(self, file: Path, files: MediaFiles) -> Any:
        """The part that a file is, open as long as `files` are."""
        return file

    def read(self, part: Any, excerpt: Excerpt = WHOLE) -> list[Tensor]:
        """Read a part.

        Returns:
            `[steps, ...]` for each of the crops; a single one stands for all.

        Raises:
            DataError: it cannot be read, or does not hold what is asked for.
        """
        raise NotImplementedError

    def take(self, part: Any, excerpt: Excerpt = WHOLE) -> list[Tensor]:
        """What is decoded of a part, before `finish` makes of it what `read` gives: of sound the samples."""
        return self.read(part, excerpt)

    def finish(self, taken: Tensor, where: str) -> Tensor:
        """What a model sees of one that `take` gave; `where` is for the errors."""
        return taken

    def store(self, part: Any, storage: Storage) -> Stored:
        """What shards store of a part that comes of no shard.

        Raises:
            DataError: it cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def guess(cls, sight: Sight) -> dict[str, Any] | None:
        """The fields of a source for a column, of which no recipe says what it holds; None: nothing of this kind.

        Raises:
            ValueError: it is of this kind, and a recipe must say more.
        """
        return None
