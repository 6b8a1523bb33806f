"""Inputs less their mean and over their standard deviation, as they were over the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped


class Standard(nn.Module):
    """A mean and a standard deviation for each number of a step: 0 and 1 until `set` says others. Padding becomes 0.

    They are buffers, saved with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def set(self, mean: Float[Tensor, " width"], std: Float[Tensor, " width"]) -> None:
        """Take over what was measured; numbers that never change are only shifted, to 0."""
        steady = std <= 1e-6 * mean.abs()  # to the precision of float32
        self.mean.copy_(mean)
        self.std.copy_(std.where(~steady, 1.0))

    def forward(
        self, inputs: Float[Tensor, "batch time width"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch time width"]:
        """`lengths`: the real steps of each sample; all of them where left out."""
        if inputs.shape[-1:] != self.mean.shape:
            raise ValueError(f"expected {len(self.mean)} numbers a step, got inputs of shape {list(inputs.shape)}")
        return (inputs - self.mean) / self.std * real_steps(inputs, lengths)


def real_steps(inputs: Shaped[Tensor, "batch time *rest"], lengths: Int[Tensor, " batch"] | None) -> Tensor:
    """1 where a step of a sample is real, 0 where it is padding: `[B, T]`, and as many axes of 1 as the inputs have."""
    shape = (*inputs.shape[:2], *[1] * (inputs.ndim - 2))
    if lengths is None:
        return torch.ones(shape, device=inputs.device)
    real = torch.arange(inputs.shape[1], device=inputs.device) < lengths.to(inputs.device)[:, None]
    return real.view(shape).float()
