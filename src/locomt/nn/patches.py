"""Patch embeddings of pretrained checkpoints, turned into those of other pixels, tubelets and grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from locomt.nn.checkpoint import PROCESSOR, Checkpoint
from locomt.nn.preprocessing import Pictures, pictures_of

if TYPE_CHECKING:
    from jaxtyping import Float


class Patches(NamedTuple):
    """How patches become tokens.

    Attributes:
        kernel: `[dim, *patch]`, a patch's channels first.
        bias: `[dim]`.
        positions: `[*grid, dim]`.
    """

    kernel: Tensor
    bias: Tensor
    positions: Tensor


def normalised(checkpoint: Checkpoint, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A patch projection that takes pixels in [-1, 1] and does what the checkpoint's does with those it was trained on.

    Its `preprocessor_config.json` says that of pixels p in [0, 255] it takes (scale p - mean) / std, a mean and a std a
    channel. With x = p / 127.5 - 1 this is 127.5 scale x / std + (127.5 scale - mean) / std, which is linear and thus
    part of the projection.
    """
    channels = kernel.shape[1]
    made = pictures_of(Path(checkpoint.source) / PROCESSOR, checkpoint.processor, channels)
    if made.mean + made.std == (0.5,) * len(made.mean + made.std) and made.scale == Pictures.scale:
        return kernel, bias
    mean, std = (torch.tensor(part, dtype=torch.float64).expand(channels) for part in (made.mean, made.std))
    half = 127.5 * made.scale
    exact = kernel.double()
    shift = (exact.sum(dim=(2, 3)) * ((half - mean) / std)).sum(dim=1)
    return (exact * (half / std)[:, None, None]).float(), (bias.double() + shift).float()


def inflate(
    kernel: Float[Tensor, "dim channels height width"], tubelet: int, inflation: str = "central"
) -> Float[Tensor, "dim channels tubelet height width"]:
    """A patch projection for one frame as one for `tubelet` frames, see `locomt.nn.pretrained.fill_towers`.

    On frames that are all the same both give what the patch projection gave for one of them.
    """
    if inflation == "average":
        return kernel[:, :, None].expand(-1, -1, tubelet, -1, -1) / tubelet
    inflated = kernel.new_zeros(*kernel.shape[:2], tubelet, *kernel.shape[2:])
    inflated[:, :, tubelet // 2] = kernel
    return inflated


def resize_table(
    table: Float[Tensor, "height width dim"], size: Sequence[int]
) -> Float[Tensor, "new_height new_width dim"]:
    """Positions for another grid, bicubic as transformers' `interpolate_pos_encoding` has them."""
    if table.shape[:2] == tuple(size):
        return table
    new = interpolate(table.movedim(-1, 0)[None], tuple(size), mode="bicubic", align_corners=False)
    return new[0].movedim(0, -1)
