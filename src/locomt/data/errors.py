"""What can be wrong with data, as exceptions that know the file they speak of."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from locomt.hints import printable


class DataError(ValueError):
    """Input that cannot serve.

    Attributes:
        file: what it was read from.
        reason: what was expected and what came, without the file.
        kind: what the file lacks, one of `ABSENT`; a source's field `on_` and this says what becomes of the sample.
    """

    kind: ClassVar[str] = ""

    def __init__(self, file: str | Path, reason: str) -> None:
        super().__init__(printable(f"{file}: {reason}"))  # both may be out of the data, control characters and all
        self.file, self.reason = str(file), reason

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str]]:
        """Workers of a data loader send their errors home by pickle."""
        return type(self), (self.file, self.reason)


class ManifestError(DataError):
    """A manifest that cannot be read as a whole, or a row of it that says something impossible."""


class MediaError(DataError):
    """A media file that cannot be decoded."""


class NoStreamError(MediaError):
    """A media file without the kind of stream that was asked for."""

    kind = "no_stream"


class SilentError(MediaError):
    """A recording of which nothing is heard."""

    kind = "silent"


ABSENT: dict[str, type[DataError]] = {error.kind: error for error in (NoStreamError, SilentError)}
"""What a file lacks, so that its other modalities may be used all the same."""


class FeatureError(DataError):
    """A feature file that does not hold `[time, dim]` finite numbers."""


class ShardError(DataError):
    """A folder of shards, or a sample in it, that is not what `locomt prepare` writes."""
