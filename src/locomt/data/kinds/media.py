"""What is read from media files: which stream, what becomes of files without one, and crops in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from locomt.data.kinds.source import LACKING, WHOLE, Excerpt, Source
from locomt.require import require

if TYPE_CHECKING:
    from torch import Tensor

    from locomt.data.media.crop import Crop
    from locomt.data.media.read import MediaFiles
    from locomt.data.media.recording import OpenFile, Recording


@dataclass(frozen=True, kw_only=True)
class MediaSource(Source):
    """What is read from media files.

    Attributes:
        stream: which of the file's streams of this kind, counted from 0 (the cover of a recording is none). Left out,
            it is the one that FFmpeg calls best: marked as default, then of the most data.
        on_no_stream: what a sample is whose file has no stream of the kind: `bad`, or `missing`: it has all its other
            modalities.
    """

    stream: int | None = None
    on_no_stream: str = "bad"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.stream is None or self.stream >= 0, f"stream: expected 0 or more, got {self.stream}")
        for name in (field.name for field in fields(self) if field.name.startswith("on_")):
            value = getattr(self, name)
            require(value in LACKING, f"{name}: expected one of {', '.join(LACKING)}, got {value!r}")

    @classmethod
    def takes(cls, file: Path) -> bool:
        from locomt.data.feature_files import is_feature_file

        return not is_feature_file(file)  # the content decides what media it is

    def open(self, file: Path, files: MediaFiles) -> OpenFile:
        return files.open(file)

    def load(self, file: Path | Recording) -> Tensor:
        """Read the whole of a file or a recording, as `read` does."""
        if isinstance(file, Path):
            from locomt.data.media.read import MediaFiles

            with MediaFiles() as files:
                return self.read(files.open(file))[0]
        return self.read(file)[0]


@dataclass(frozen=True, kw_only=True)
class ClipSource(MediaSource):
    """What lasts in time, and is read whole or in crops."""

    has_time: ClassVar[bool] = True

    def read(self, part: Recording, excerpt: Excerpt = WHOLE) -> list[Tensor]:
        """The crops, or the first `seconds`, or, without either, what is taken of the whole.

        Raises:
            MediaError: it cannot be decoded, or nothing is heard of its sound.
        """
        return [self.finish(taken, str(part)) for taken in self.take(part, excerpt)]

    def take(self, part: Recording, excerpt: Excerpt = WHOLE) -> list[Tensor]:
        from locomt.data.media.crop import crop_at

        if excerpt.seconds is not None:
            return [self.read_first(part, excerpt.seconds)]
        if excerpt.crop is None:
            return self.read_crops(part, (None,))
        span = self.span(part)
        return self.read_crops(part, [crop_at(span, excerpt.crop, place) for place in excerpt.places])

    def span(self, recording: Recording) -> tuple[float, float]:
        """From when to when a recording lasts, in seconds, of which crops are taken."""
        return recording.span

    def read_crops(self, recording: Recording, crops: Sequence[Crop | None]) -> list[Tensor]:
        """What is decoded of crops, at once for all of them; None is what is taken of the whole of the recording."""
        raise NotImplementedError

    def read_first(self, recording: Recording, seconds: float) -> Tensor:
        """What is decoded of the first `seconds` of a recording at a steady pace, less of a shorter one."""
        raise NotImplementedError
