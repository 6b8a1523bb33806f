"""What goes into a model: a frozen dataclass for each kind of modality, validated when made, with its token grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeGuard

from locomt.nn.fields import check_sizes, check_types
from locomt.require import require

LONG, WIDE = 2**24, 2**16
"""The most steps in time and the most features of anything that goes in, far beyond what has been trained."""


@dataclass(frozen=True, kw_only=True)
class VideoSpec:
    """Frames `[B, frames, channels, size, size]`, cut into patches of `tubelet` x `patch` x `patch`."""

    kind: ClassVar[str] = "video"
    class_tokens: ClassVar[int] = 1
    frames: int = 8
    size: int = 224
    patch: int = 16
    tubelet: int = 1
    channels: int = 3

    def __post_init__(self) -> None:
        check_types(self, "video ")
        check_sizes(self, "video ", frames=LONG, size=WIDE, patch=WIDE, tubelet=LONG, channels=WIDE)
        require(
            self.size % self.patch == 0,
            f"video size {self.size} is no multiple of its patch {self.patch}",
        )
        require(
            self.frames % self.tubelet == 0,
            f"video frames {self.frames} is no multiple of its tubelet {self.tubelet}",
        )

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along time, height and width."""
        side = self.size // self.patch
        return (self.frames // self.tubelet, side, side)

    @property
    def step(self) -> int:
        """Input steps (frames) from one token to the next along the token grid's time axis."""
        return self.tubelet

    @property
    def window(self) -> int:
        """Input steps (frames) that one token spans; `step` or, where tokens overlap, more."""
        return self.tubelet

    @property
    def max_steps(self) -> int:
        """Input steps (frames) of a full-length sample."""
        return self.frames


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """A log-mel spectrogram `[B, frames, mels]`, cut into square patches.

    Attributes:
        stride: frames and bands from one patch to the next. 0 stands for `patch`; less than `patch` makes them overlap,
            as those of AST do (Gong et al., Interspeech 2021: 10). What no whole patch fits into at the end is then
            left out.
        class_tokens: tokens in front of the patches, of whose outputs the head reads the mean: 1, the [CLS], or 2, with
            AST's distillation token.
    """

    kind: ClassVar[str] = "audio"
    frames: int = 800
    mels: int = 128
    patch: int = 16
    stride: int = 0
    class_tokens: int = 1

    def __post_init__(self) -> None:
        check_types(self, "audio ")
        check_sizes(self, "audio ", frames=LONG, mels=WIDE, patch=WIDE, class_tokens=WIDE)
        require(
            0 <= self.stride <= self.patch,
            f"audio stride: expected 0 to the patch of {self.patch}, got {self.stride}",
        )
        for name in ("frames", "mels"):
            size = getattr(self, name)
            require(size >= self.patch, f"audio {name} {size} is less than its patch {self.patch}")
            require(
                size % self.patch == 0 or self.step < self.patch,
                f"audio {name} {size} is no multiple of its patch {self.patch}",
            )

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along time and frequency."""
        return ((self.frames - self.patch) // self.step + 1, (self.mels - self.patch) // self.step + 1)

    @property
    def step(self) -> int:
        return self.stride or self.patch

    @property
    def window(self) -> int:
        return self.patch

    @property
    def max_steps(self) -> int:
        return self.frames


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A sequence of feature vectors `[B, time, dim]`, a token each."""

    kind: ClassVar[str] = "features"
    class_tokens: ClassVar[int] = 1
    step: ClassVar[int] = 1
    window: ClassVar[int] = 1
    dim: int
    max_length: int

    def __post_init__(self) -> None:
        check_types(self, "features ")
        check_sizes(self, "features ", dim=LONG, max_length=LONG)

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def max_steps(self) -> int:
        return self.max_length


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """Token ids `[B, time]` below `vocabulary`.

    Attributes:
        encoder: the configuration of a transformers model, as in its `config.json`, whose last hidden states become the
            tokens and which takes the place of the unimodal layers; see `locomt.nn.encoder`. None: ids are looked up.
    """

    kind: ClassVar[str] = "text"
    class_tokens: ClassVar[int] = 1
    step: ClassVar[int] = 1
    window: ClassVar[int] = 1
    vocabulary: int
    max_length: int
    encoder: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_types(self, "text ")
        check_sizes(self, "text ", vocabulary=LONG, max_length=LONG)
        if self.encoder is None:
            return
        require(
            isinstance(self.encoder.get("model_type"), str),
            f"text encoder: expected the config.json of a transformers model, got {self.encoder!r:.60}",
        )
        for name, here in (("vocab_size", self.vocabulary), ("max_position_embeddings", self.max_length)):
            most = self.encoder.get(name)
            require(
                not isinstance(most, int) or here <= most,
                f"text: the encoder's {name} is {most}, less than the {here} that the tokenizer or max_length asks for",
            )

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def max_steps(self) -> int:
        return self.max_length


ModalitySpec = VideoSpec | AudioSpec | FeatureSpec | TextSpec
SPECS: dict[str, type[ModalitySpec]] = {spec.kind: spec for spec in (VideoSpec, AudioSpec, FeatureSpec, TextSpec)}


def token_count(spec: ModalitySpec) -> int:
    """L_i of a full-length sample, its class tokens counted."""
    return math.prod(spec.grid) + spec.class_tokens


def encodes(spec: ModalitySpec) -> TypeGuard[TextSpec]:
    """Whether it is a text whose tokens a pretrained encoder makes."""
    return isinstance(spec, TextSpec) and spec.encoder is not None
