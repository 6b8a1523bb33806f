"""Kind `audio`: log-mel spectrograms of recordings, and of the sound of clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from locomt.data.errors import MediaError, SilentError
from locomt.data.kinds.media import ClipSource
from locomt.data.kinds.source import Sight
from locomt.nn.config import AudioSpec
from locomt.require import require

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from locomt.data.media.crop import Crop
    from locomt.data.media.recording import OpenFile, Recording, Sound
    from locomt.data.shards.storage import Storage, Stored

FILTERBANKS = ("htk", "kaldi")
MOST_RATE, MOST_WINDOW = 2**20, 2**18
"""Samples a second and of a window: beyond every sound card, and what a Fourier transform may take of memory."""


@dataclass(frozen=True, kw_only=True)
class AudioSource(ClipSource):
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
        standardise: take each band thereof less its mean, and over its standard deviation, in the training split; the
            model keeps them.
    """

    kind: ClassVar[str] = "audio"
    holds: ClassVar[str] = "spectrogram"
    shaping: ClassVar[tuple[str, ...]] = ("rate", "stream")
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
    standardise: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("seconds", "rate", "window_ms", "hop_ms", "std"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"{name}: expected above 0, got {value}")
        require(self.rate <= MOST_RATE, f"rate: expected at most {MOST_RATE:,} samples a second, got {self.rate:,}")
        require(
            self.window <= MOST_WINDOW,
            f"window_ms: expected at most {MOST_WINDOW:,} samples, got {self.window_ms:g} ms at {self.rate} a second",
        )
        require(
            self.filterbank in FILTERBANKS,
            f"filterbank: expected one of {', '.join(FILTERBANKS)}, got {self.filterbank!r}",
        )
        require(self.hop >= 1, f"hop_ms {self.hop_ms} is shorter than a sample at {self.rate} samples a second")
        require(
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
            frames=frames,
            mels=self.mels,
            patch=self.patch,
            stride=self.stride,
            class_tokens=self.class_tokens,
            standardise=self.standardise,
        )

    @property
    def room(self) -> float:
        return self.seconds

    def rate_in(self, seconds: float) -> float:
        return self.rate / self.hop

    def span(self, recording: Recording) -> tuple[float, float]:
        return recording.sound_span(self.rate, self.stream)

    def read_crops(self, recording: Recording, crops: Sequence[Crop | None]) -> list[Float[Tensor, " samples"]]:
        from locomt.data.media.sound import cut

        sound = self._heard(recording)  # a silent stretch of a recording that is not silent says something
        return [
            self._middle(recording, sound.samples) if crop is None else cut(sound.samples, sound.begin, self.rate, crop)
            for crop in crops
        ]

    def read_first(self, recording: Recording, seconds: float) -> Float[Tensor, " samples"]:
        """Silence stands before a sound that begins later than the file's pictures."""
        from locomt.data.media.crop import Crop
        from locomt.data.media.sound import cut

        sound = self._heard(recording)
        begin = self.span(recording)[0]
        return cut(sound.samples, sound.begin, self.rate, Crop(begin, begin + seconds, (0.0, 1.0)))

    def _heard(self, recording: Recording) -> Sound:
        sound = recording.read_audio(self.rate, self.stream)
        if sound.silence:
            raise SilentError(str(recording), sound.silence)
        return sound

    def _middle(self, recording: Recording, samples: Tensor) -> Tensor:
        most = round(self.seconds * self.rate)
        start = max(0, (len(samples) - most) // 2)
        middle = samples[start : start + most]
        if not middle.any():
            raise SilentError(str(recording), f"all-zero audio in the middle {self.seconds:g} s")
        return middle

    def finish(self, taken: Float[Tensor, " samples"], where: str) -> Float[Tensor, "frames mels"]:
        """The spectrogram."""
        from locomt.data.media.spectrogram import kaldi_filter_bank, log_mel

        spectrum = kaldi_filter_bank if self.filterbank == "kaldi" else log_mel
        found = spectrum(taken, rate=self.rate, mels=self.mels, window=self.window, hop=self.hop)
        if not found.isfinite().all():
            loudest = taken.abs().max()
            raise MediaError(where, f"expected sound of full scale 1, got samples up to {loudest:.2g}")
        return (found[: self.max_steps] - self.mean) / self.std

    def store(self, part: OpenFile, storage: Storage) -> Stored:
        """The whole sound at `rate`."""
        from locomt.data.shards.encoding import encode_sound
        from locomt.data.shards.storage import SOUNDS, Stored

        sound = self._heard(part)
        content, scale = encode_sound(sound.samples, self.rate, storage.sound)
        fields = {"span": self.span(part), "begin": sound.begin, "scale": scale}
        return Stored([(SOUNDS[storage.sound], content)], fields)

    @classmethod
    def guess(cls, sight: Sight) -> dict[str, Any] | None:
        return {} if sight.mostly(lambda info: bool(info.audio)) else None
