"""Video: frames, cut into patches that reach over one frame or more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from locomt.nn.checkpoint import VIT, Checkpoint
from locomt.nn.fields import LONG, WIDE
from locomt.nn.modalities.base import ModalitySpec
from locomt.nn.patches import Patches, inflate, normalised, resize_table

if TYPE_CHECKING:
    from jaxtyping import Shaped


@dataclass(frozen=True, kw_only=True)
class VideoSpec(ModalitySpec):
    """Frames `[B, frames, channels, size, size]`, cut into patches of `tubelet` x `patch` x `patch`."""

    kind: ClassVar[str] = "video"
    most: ClassVar[Mapping[str, int]] = {
        "frames": LONG, "size": WIDE, "patch": WIDE, "tubelet": LONG, "channels": WIDE,
    }  # fmt: skip
    checkpoints: ClassVar[tuple[str, ...]] = (VIT,)
    frames: int = 8
    size: int = 224
    patch: int = 16
    tubelet: int = 1
    channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("size", of="patch")
        self.check_multiple("frames", of="tubelet")

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along time, height and width."""
        side = self.size // self.patch
        return (self.frames // self.tubelet, side, side)

    @property
    def step(self) -> int:
        return self.tubelet

    @property
    def max_steps(self) -> int:
        return self.frames

    @property
    def inputs_per_token(self) -> int:
        return self.channels * self.tubelet * self.patch**2

    def projection(self, dim: int) -> nn.Module:
        return VideoPatches(self, dim)

    def example_input(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        shape = (batch, self.frames, self.channels, self.size, self.size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)

    def fixed_by(self, checkpoint: Checkpoint) -> dict[str, int]:
        return {"patch": checkpoint.patch[0], "channels": checkpoint.channels}

    def lay(self, checkpoint: Checkpoint, patches: Patches, inflation: str) -> Patches:
        kernel, bias = normalised(checkpoint, patches.kernel, patches.bias)
        times, *size = self.grid
        positions = resize_table(patches.positions, size)[None].expand(times, -1, -1, -1)
        return Patches(inflate(kernel, self.tubelet, inflation), bias, positions)


class VideoPatches(nn.Module):
    """`[B, T, C, S, S]` to one token for each tubelet x patch x patch, frame after frame, row after row.

    uint8 frames are scaled to [-1, 1]; floating-point frames are taken as they are.
    """

    def __init__(self, spec: VideoSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        # A convolution whose stride is its kernel, written as the matrix product that it is.
        self.project = nn.Linear(spec.inputs_per_token, dim)

    def forward(self, frames: Shaped[Tensor, "batch time channels size size"]) -> Tensor:
        s = self.spec
        if frames.shape[2:] != (s.channels, s.size, s.size):
            raise ValueError(
                f"expected frames [batch, time, {s.channels}, {s.size}, {s.size}], got {list(frames.shape)}"
            )
        if frames.dtype == torch.uint8:
            frames = frames.to(self.project.weight.dtype) / 127.5 - 1
        frames = pad(frames, (0, 0, 0, 0, 0, 0, 0, -frames.shape[1] % s.tubelet))
        side = s.size // s.patch
        blocks = frames.unflatten(1, (-1, s.tubelet)).unflatten(4, (side, s.patch)).unflatten(6, (side, s.patch))
        # [B, T', tubelet, C, H', p, W', p] -> [B, T', H', W', C, tubelet, p, p], the order of a Conv3d kernel
        tokens = blocks.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(1, 3)
        return self.project(tokens)  # type: ignore[no-any-return]
