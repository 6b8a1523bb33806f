"""How each modality is read from its cell of a manifest: one frozen dataclass a kind, validated when made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from locomt.nn.config import AudioSpec, ConfigError, FeatureSpec, TextSpec, VideoSpec
from locomt.nn.fields import check_types
from locomt.require import require as _require

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from locomt.data.media.container import Crop
    from locomt.data.media.pyav import MediaFile
    from locomt.data.shards.reader import StoredPart

# The modules that decode are imported when something is loaded: a recipe is read without PyAV.

FILTERBANKS = ("htk", "kaldi")
LACKING = ("bad", "missing")
"""What a sample is that lacks a stream or sound: a bad sample, or one without that modality."""
MOST_RATE, MOST_WINDOW = 2**20, 2**18
"""Samples a second and of a window: beyond every sound card, and what a Fourier transform may take of memory."""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What all kinds have.

    Attributes:
        column: the manifest's column that holds this modality.
    """

    column: str

    def __post_init__(self) -> None:
        check_types(self)
        _require(bool(self.column), "column: expected the name of a column of the manifest, got nothing")


@dataclass(frozen=True, kw_only=True)
class _MediaSource(_Source):
    """What is read from media files, whole or in crops in time.

    Attributes:
        stream: which of the file's streams of this kind, counted from 0 (the cover of a recording is none). Left out,
            it is the one that FFmpeg calls best: marked as default, then of the most data.
        on_no_stream: what a sample is whose file has no stream of the kind: `bad`, or `missing`: it has all its other
            modalities.
    """

    reads: ClassVar[str] = "media"
    stream: int | None = None
    on_no_stream: str = "bad"

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.stream is None or self.stream >= 0, f"stream: expected 0 or more, got {self.stream}")
        for name in ("on_no_stream", "on_silent"):
            value = getattr(self, name, "bad")
            _require(value in LACKING, f"{name}: expected one of {', '.join(LACKING)}, got {value!r}")

    def span(self, file: MediaFile | StoredPart) -> tuple[float, float]:
        """From when to when a file lasts, in seconds, of which crops are taken."""
        return file.span

    def load(self, file: Path | MediaFile | StoredPart, crop: Crop | None = None) -> Tensor:
        """Read a file, or a crop of it; see `load_crops`."""
        if isinstance(file, Path):
            from locomt.data.media.pyav import MediaFiles

            with MediaFiles() as files:
                return self.load(files.open(file), crop)
        return self.load_crops(file, (crop,))[0]

    def load_crops(self, file: MediaFile | StoredPart, crops: Sequence[Crop | None]) -> list[Tensor]:
        """Read crops of a file, which is decoded once for all of them; None is what is taken of the whole of it.

        Returns:
            uint8 `[frames, 3, size, size]` of video, float32 `[frames, mels]` of audio, for each of the crops.

        Raises:
            MediaError: it cannot be decoded, or nothing is heard of its sound.
        """
        raise NotImplementedError

    def load_first(self, file: MediaFile | StoredPart, seconds: float) -> Tensor:
        """The first `seconds` of a file at a steady pace, less of a shorter one; as `load_crops` otherwise."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class VideoSource(_MediaSource):
    """Frames spread evenly over a clip; the shorter side scaled to `size`, then the square in the middle.

    Attributes:
        stream: which of the file's video streams.
        frames: how many. A clip that has fewer gives some of them several times.
        size: height and width in pixels; a multiple of `patch`.
        patch: height and width of a token in pixels.
        tubelet: frames to a token; divides `frames`.
    """

    kind: ClassVar[str] = "video"
    holds: ClassVar[str] = "pixels"
    frames: int = 8
    size: int = 224
    patch: int = 16
    tubelet: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec()

    def spec(self) -> VideoSpec:
        return VideoSpec(frames=self.frames, size=self.size, patch=self.patch, tubelet=self.tubelet)

    @property
    def max_steps(self) -> int:
        return self.frames

    def load_crops(self, file: MediaFile | StoredPart, crops: Sequence[Crop | None]) -> list[Tensor]:
        return file.read_crops(self.frames, crops, size=self.size, stream=self.stream)

    def load_first(self, file: MediaFile | StoredPart, seconds: float) -> Tensor:
        import torch

        from locomt.data.media.container import moments

        crops = moments(file.span, seconds, self.frames)
        return torch.cat(file.read_crops(1, crops, size=self.size, stream=self.stream))


@dataclass(frozen=True, kw_only=True)
class AudioSource(_MediaSource):
    """The log-mel spectrogram of the middle of a recording, mixed to one channel, less `mean` and over `std`.

    Attributes:
        stream: which of the file's audio streams.
        on_silent: what a sample is of whose sound nothing is heard: as `on_no_stream`.
        seconds: at most so much of it; a shorter recording is padded in its batch and its length told.
        rate: samples a second that the sound is resampled to.
        mels: mel bands up to half of `rate`; a multiple of `patch` unless patches overlap.
        filterbank: `htk`, see `locomt.data.log_mel`, or `kaldi`, which AST was trained on, see
            `locomt.data.kaldi_filter_bank`.
        patch: frames and bands to a token.
        stride: frames and bands from one token to the next, 0 for `patch`; AST checkpoints have 10.
        class_tokens: 1 or, as in AST checkpoints, 2; see `locomt.nn.AudioSpec`.
        window_ms: length of the Hann window.
        hop_ms: time from one frame to the next.
        mean: of the log-mel values; the default is that of AudioSet in Gong et al., "AST", Interspeech 2021.
        std: standard deviation of the log-mel values, from the same source.
    """

    kind: ClassVar[str] = "audio"
    holds: ClassVar[str] = "spectrogram"
    on_silent: str = "bad"
    seconds: float = 8.0
    rate: int = 16000
    mels: int = 128
    filterbank: str = "htk"
    patch: int = 16
    stride: int = 0
    class_tokens: int = 1
    window_ms: float = 25.0
    hop_ms: float = 10.0
    mean: float = -4.27
    std: float = 4.57

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("seconds", "rate", "window_ms", "hop_ms", "std"):
            value = getattr(self, name)
            _require(0 < value < math.inf, f"{name}: expected above 0, got {value}")
        _require(self.rate <= MOST_RATE, f"rate: expected at most {MOST_RATE:,} samples a second, got {self.rate:,}")
        _require(
            self.window <= MOST_WINDOW,
            f"window_ms: expected at most {MOST_WINDOW:,} samples, got {self.window_ms:g} ms at {self.rate} a second",
        )
        _require(
            self.filterbank in FILTERBANKS,
            f"filterbank: expected one of {', '.join(FILTERBANKS)}, got {self.filterbank!r}",
        )
        _require(self.hop >= 1, f"hop_ms {self.hop_ms} is shorter than a sample at {self.rate} samples a second")
        _require(
            self.hop_ms <= self.window_ms,
            f"hop_ms {self.hop_ms} is longer than window_ms {self.window_ms}: the sound between would go unheard",
        )
        self.spec()

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.rate * self.hop_ms / 1000)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.rate * self.window_ms / 1000)

    @property
    def max_steps(self) -> int:
        """Frames of `seconds`."""
        return math.ceil(round(self.seconds * 1000 / self.hop_ms, 6))

    def spec(self) -> AudioSpec:
        """Its frames are those of `seconds`, rounded up to a multiple of `patch` unless patches overlap."""
        overlap = 0 < self.stride < self.patch
        frames = self.max_steps if overlap else -(-self.max_steps // self.patch) * self.patch
        return AudioSpec(
            frames=frames, mels=self.mels, patch=self.patch, stride=self.stride, class_tokens=self.class_tokens
        )

    def span(self, file: MediaFile | StoredPart) -> tuple[float, float]:
        from locomt.data.media.sound import span_of

        return span_of(file, self.rate, self.stream)

    def load_crops(self, file: MediaFile | StoredPart, crops: Sequence[Crop | None]) -> list[Tensor]:
        from locomt.data.media.sound import load_spectrograms

        return load_spectrograms(file, self, crops)

    def load_first(self, file: MediaFile | StoredPart, seconds: float) -> Tensor:
        from locomt.data.media.sound import load_first

        return load_first(file, self, seconds)


@dataclass(frozen=True, kw_only=True)
class FeatureSource(_Source):
    """A sequence of vectors in a .npy, .npz or .safetensors file: `[time, dim]`, or `[dim]` for one step.

    Attributes:
        dim: length of a vector.
        max_length: at most so many of them, the first ones.
    """

    kind: ClassVar[str] = "features"
    holds: ClassVar[str] = "vectors"
    reads: ClassVar[str] = "features"
    dim: int
    max_length: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec()

    def spec(self) -> FeatureSpec:
        return FeatureSpec(dim=self.dim, max_length=self.max_length)

    @property
    def max_steps(self) -> int:
        return self.max_length

    def load(self, file: Path | StoredPart, steps: int | None = None) -> Float[Tensor, "time dim"]:
        """Read a feature file.

        Args:
            file: the file.
            steps: how many vectors the whole of it must hold, where each of them has a label.

        Raises:
            FeatureError: it does not hold that, or not finite numbers of `dim` columns.
        """
        from locomt.data.features import load_features

        return load_features(file, self, steps)


@dataclass(frozen=True, kw_only=True)
class TextSource(_Source):
    """Text as token ids.

    Attributes:
        max_length: at most so many tokens, the first ones.
        tokenizer: `bytes` (UTF-8, no vocabulary needed), or the name or folder of a Hugging Face tokenizer,
            which needs the extra `text`.
        encoder: the name or folder of a transformers model whose states become the tokens, as in `locomt.nn.encoder`;
            without one, embeddings are learned. It brings its tokenizer along unless `tokenizer` names another.
    """

    kind: ClassVar[str] = "text"
    holds: ClassVar[str] = "ids"
    reads: ClassVar[str] = "text"
    max_length: int
    tokenizer: str = "bytes"
    encoder: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder and self.tokenizer == "bytes":
            object.__setattr__(self, "tokenizer", self.encoder)
        _require(self.max_length >= 1, f"max_length: expected 1 or more, got {self.max_length}")

    def spec(self) -> TextSpec:
        """Its vocabulary is that of the tokenizer, which is loaded for this unless it is `bytes`."""
        from locomt.data.text import vocabulary_size
        from locomt.nn.encoder import encoder_config

        encoder = encoder_config(self.encoder) if self.encoder else None
        vocabulary = vocabulary_size(self.tokenizer)
        try:
            return TextSpec(vocabulary=vocabulary, max_length=self.max_length, encoder=encoder)
        except ConfigError as error:
            raise ConfigError(f"tokenizer {self.tokenizer!r}: {error}") from None

    @property
    def max_steps(self) -> int:
        return self.max_length

    def load(self, text: str, steps: int | None = None) -> Int[Tensor, " time"]:
        """Turn a text into ids.

        Args:
            text: the text itself.
            steps: how many tokens the whole of it must have, where each of them has a label.

        Raises:
            DataError: the text has another number of tokens, or none.
        """
        from locomt.data.text import load_text

        return load_text(text, self, steps)


def leaves_out(source: _Source, kind: str) -> bool:
    """Whether a sample whose file lacks what a source reads is a sample without it; `kind` is that of the error."""
    return bool(kind) and getattr(source, f"on_{kind}", "bad") == "missing"


Source = VideoSource | AudioSource | FeatureSource | TextSource
SOURCES: dict[str, type[Source]] = {s.kind: s for s in (VideoSource, AudioSource, FeatureSource, TextSource)}
