"""Image: one picture, cut into patches as a frame of video is, and without a time axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from locomt.nn.checkpoint import VIT, Checkpoint
from locomt.nn.fields import WIDE
from locomt.nn.modalities.base import ModalitySpec
from locomt.nn.modalities.video import VideoSpec
from locomt.nn.patches import Patches


@dataclass(frozen=True, kw_only=True)
class ImageSpec(ModalitySpec):
    """A picture `[B, 1, channels, size, size]`, of pixels as a frame of video, cut into patches of `patch` x `patch`.

    It has one step and belongs to no moment, so that answers along time are not read from it.
    """

    kind: ClassVar[str] = "image"
    most: ClassVar[Mapping[str, int]] = {"size": WIDE, "patch": WIDE, "channels": WIDE}
    has_time: ClassVar[bool] = False
    checkpoints: ClassVar[tuple[str, ...]] = (VIT,)
    size: int = 224
    patch: int = 16
    channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("size", of="patch")

    @property
    def _clip(self) -> VideoSpec:
        """The video of one frame that is cut into the same patches."""
        return VideoSpec(frames=1, size=self.size, patch=self.patch, channels=self.channels)

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens of its one step, along height and along width."""
        return self._clip.grid

    @property
    def max_steps(self) -> int:
        return 1

    @property
    def inputs_per_token(self) -> int:
        return self._clip.inputs_per_token

    def projection(self, dim: int) -> nn.Module:
        return self._clip.projection(dim)

    def example_input(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        return self._clip.example_input(batch, device)

    def fixed_by(self, checkpoint: Checkpoint) -> dict[str, int]:
        return self._clip.fixed_by(checkpoint)

    def lay(self, checkpoint: Checkpoint, patches: Patches, inflation: str) -> Patches:
        return self._clip.lay(checkpoint, patches, inflation)
