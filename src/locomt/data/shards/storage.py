"""How samples are stored in shards, and what a kind stores of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from locomt.nn.config import ConfigError

IMAGES = {"jpeg": "jpg", "png": "png"}
SOUNDS = {"flac": "flac", "npy": "npy"}
"""Ways of storing -> the ends of the names."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How samples are stored.

    Attributes:
        images: `jpeg`, or `png`, which loses nothing.
        quality: of JPEG, 1 to 100.
        sound: `flac` of 16 bits, or `npy` of float32, which loses nothing.
        fps: frames a second that are stored besides those which the recipe asks for; 0 stores all there are, None
            none but those of the recipe.
        samples: to a shard.
        seed: of the order in which the samples of a split are laid out.
    """

    images: str = "jpeg"
    quality: int = 95
    sound: str = "flac"
    fps: float | None = None
    samples: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("images", self.images, IMAGES), ("sound", self.sound, SOUNDS)):
            if value not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality: expected 1 to 100, got {self.quality}")
        if self.fps is not None and not 0 <= self.fps < float("inf"):
            raise ConfigError(f"fps: expected frames a second, or 0 for all, got {self.fps}")
        if self.samples < 1:
            raise ConfigError(f"samples to a shard: expected 1 or more, got {self.samples}")


@dataclass(frozen=True)
class Stored:
    """One modality of a sample: its members as the end of the name and the content, and what the JSON says besides."""

    members: list[tuple[str, bytes]]
    fields: dict[str, Any]
