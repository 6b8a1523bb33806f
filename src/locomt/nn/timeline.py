"""From tokens to answers along time: what each step of a common time axis takes from the tokens around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from locomt.nn.config import FusionConfig
from locomt.nn.modalities import ModalitySpec
from locomt.nn.readout import ReadOut

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

TICK = 1e-6
"""Share of a time step by which sums that are meant to be equal may differ."""


def reached(lengths: Int[Tensor, " batch"], pace: float, time_steps: int) -> Bool[Tensor, "batch steps"]:
    """The time steps that begin before an input of so many steps ends; none of an input of length 0."""
    return torch.arange(time_steps, device=lengths.device) < lengths[:, None] / pace - TICK


def resampling(
    spec: ModalitySpec, pace: float, time_steps: int, grid: int, tokens: Int[Tensor, " batch"]
) -> Float[Tensor, "batch steps grid"]:
    """What share each token along time has in each time step.

    Tokens lie at the middle of what they span. Where they are wider apart than time steps, these lie between two of
    them and take from both in a straight line; where they are closer, the triangle is as wide as a step, and takes from
    all tokens within it, as antialiased resizing of pictures does. Before the first token's middle and behind the
    last one's these two are taken alone.

    Args:
        spec, pace: of the modality, see `FusionConfig`.
        grid: tokens along time.
        tokens: how many of them are real; without any, all shares are 0.
    """
    device, half = tokens.device, spec.window / 2
    centres = half + spec.step * torch.arange(grid, device=device)
    last = half + spec.step * (tokens - 1).clamp(min=0)
    places = pace * (torch.arange(time_steps, device=device) + 0.5)
    places = torch.minimum(places.clamp(min=half), last[:, None])
    distance = (places[..., None] - centres).abs()
    shares = (1 - distance / max(pace, spec.step)).clamp(min=0)
    shares = shares * (torch.arange(grid, device=device) < tokens[:, None, None])
    return shares / shares.sum(dim=-1, keepdim=True).clamp(min=TICK)


def along_time(
    config: FusionConfig,
    outputs: Mapping[str, Float[Tensor, "batch grid dim"]],
    lengths: Mapping[str, Int[Tensor, " batch"]],
    tokens: Mapping[str, Int[Tensor, " batch"]],
) -> dict[str, ReadOut]:
    """What each modality says at each time step; real where it reaches the step.

    Args:
        config: of the model.
        outputs: the tokens along time of modalities with a time axis.
        lengths: how many input steps of each are real, for all samples alike or for each.
        tokens: how many tokens along time.
    """
    reads: dict[str, ReadOut] = {}
    for name, output in outputs.items():
        spec, pace = config.modalities[name], config.pace[name]
        shares = resampling(spec, pace, config.time_steps, output.shape[1], tokens[name])
        shares = shares.to(output.device, output.dtype).expand(output.shape[0], -1, -1)
        reads[name] = ReadOut(torch.bmm(shares, output), reached(lengths[name], pace, config.time_steps))
    return reads
