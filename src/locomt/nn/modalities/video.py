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
from locomt.nn.standard import real_steps

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped


@dataclass(frozen=True, kw_only=True)
class VideoSpec(ModalitySpec):
    """Frames `[B, frames, channels, size, size]`, cut into patches of `tubelet` x `patch` x `patch`.

    Attributes:
        differences: take in place of each frame, as twice the channels, the frame less the mean of the sample's real
            frames, and the frame less the one before it (0 for the first): what moves, and not what it looks like.
    """

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
    differences: bool = False

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
        return (1 + self.differences) * self.channels * self.tubelet * self.patch**2

    @property
    def takes_lengths(self) -> bool:
        return self.differences

    def projection(self, dim: int) -> nn.Module:
        return VideoPatches(self, dim)

    def example_input(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        shape = (batch, self.frames, self.channels, self.size, self.size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)

    def fixed_by(self, checkpoint: Checkpoint) -> dict[str, int]:
        moving = {"differences": False} if self.differences else {}  # which are no pixels that it was trained on
        return {"patch": checkpoint.patch[0], "channels": checkpoint.channels, **moving}

    def lay(self, checkpoint: Checkpoint, patches: Patches, inflation: str) -> Patches:
        kernel, bias = normalised(checkpoint, patches.kernel, patches.bias)
        times, *size = self.grid
        positions = resize_table(patches.positions, size)[None].expand(times, -1, -1, -1)
        return Patches(inflate(kernel, self.tubelet, inflation), bias, positions)


class VideoPatches(nn.Module):
    """`[B, T, C, S, S]` to one token for each tubelet x patch x patch, frame after frame, row after row.

    uint8 frames are scaled to [-1, 1]; floating-point frames are taken as they are. `lengths`, the real frames of each
    sample, are for a spec with `differences`.
    """

    def __init__(self, spec: VideoSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        # A convolution whose stride is its kernel, written as the matrix product that it is.
        self.project = nn.Linear(spec.inputs_per_token, dim)

    def forward(
        self, frames: Shaped[Tensor, "batch time channels size size"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Tensor:
        s = self.spec
        if frames.shape[2:] != (s.channels, s.size, s.size):
            raise ValueError(
                f"expected frames [batch, time, {s.channels}, {s.size}, {s.size}], got {list(frames.shape)}"
            )
        if frames.dtype == torch.uint8:
            frames = frames.to(self.project.weight.dtype) / 127.5 - 1
        if s.differences:
            frames = _moving(frames, lengths)
        frames = pad(frames, (0, 0, 0, 0, 0, 0, 0, -frames.shape[1] % s.tubelet))
        side = s.size // s.patch
        blocks = frames.unflatten(1, (-1, s.tubelet)).unflatten(4, (side, s.patch)).unflatten(6, (side, s.patch))
        # [B, T', tubelet, C, H', p, W', p] -> [B, T', H', W', C, tubelet, p, p], the order of a Conv3d kernel
        tokens = blocks.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(1, 3)
        return self.project(tokens)  # type: ignore[no-any-return]


def _moving(
    frames: Float[Tensor, "batch time channels size size"], lengths: Int[Tensor, " batch"] | None
) -> Float[Tensor, "batch time twice_channels size size"]:
    """The frames less their mean, and less the frame before; 0 where there are none."""
    real = real_steps(frames, lengths)
    frames = frames * real
    mean = frames.sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True).clamp(min=1)
    change = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, 1:] - frames[:, :-1]], dim=1)
    return torch.cat([frames - mean, change], dim=2) * real
