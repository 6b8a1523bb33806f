"""From projected inputs to tokens: learned positions, that can be resized, and a [CLS] in front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from locomt.nn.modalities import ModalitySpec
from locomt.nn.standard import Standard

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class ModalityEmbedding(nn.Module):
    """A modality's input to its tokens `[B, class tokens + grid tokens, dim]`, the [CLS] first.

    Inputs may be shorter in time than the spec says; they take the leading positions. Loading weights that were
    learned for another grid resizes the positions to this one's.
    """

    def __init__(self, spec: ModalitySpec, dim: int, dropout: float = 0.0, token_dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.token_dropout = token_dropout
        self.standard = Standard(spec.standardised) if spec.standardised else None
        self.project = spec.projection(dim)
        self.encodes = spec.encoder is not None
        self.cls = nn.Parameter(torch.zeros(1, spec.class_tokens, dim))
        self.positions = nn.Parameter(torch.zeros(math.prod(spec.grid), dim))
        self.grid: Tensor
        self.register_buffer("grid", torch.tensor(spec.grid))
        self.dropout = nn.Dropout(dropout)
        nn.init.trunc_normal_(self.cls, std=0.02)
        if not self.encodes:  # whose states know their positions already
            nn.init.trunc_normal_(self.positions, std=0.02)
        self.register_load_state_dict_pre_hook(_resize_loaded_positions)

    def token_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """How many tokens `lengths` input steps make, [CLS] counted; none where the sample lacks the modality."""
        spec = self.spec
        steps = (-(-(lengths - spec.window) // spec.step) + 1).clamp(min=1)
        # What no whole patch fits into makes no token; lengths beyond the longest are for `view_attention` to refuse.
        steps = torch.where(lengths <= spec.max_steps, steps.clamp(max=spec.grid[0]), steps)
        return torch.where(lengths > 0, steps * math.prod(spec.grid[1:]) + spec.class_tokens, 0)

    def forward(
        self, inputs: Tensor, lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Inputs of another floating-point type than the weights' become theirs.

        Args:
            inputs: as the specification's kind takes them.
            lengths: the real steps of each sample, for an encoder and for what is not to depend on padding.
        """
        if inputs.ndim > 1 and inputs.shape[1] > self.spec.max_steps:
            raise ValueError(
                f"{self.spec.kind} input of {inputs.shape[1]} steps is longer than the {self.spec.max_steps} it was "
                "configured for"
            )
        if self.standard is not None:
            inputs = self.standard(inputs, lengths)
        if inputs.is_floating_point() and not torch.is_autocast_enabled(inputs.device.type):
            inputs = inputs.to(self.positions.dtype)
        tokens = self.project(inputs, lengths) if self.spec.takes_lengths else self.project(inputs)
        count = tokens.shape[1]
        if self.training and self.token_dropout:
            kept = torch.empty(tokens.shape[:2], dtype=tokens.dtype, device=tokens.device)
            tokens = tokens * kept.bernoulli_(1 - self.token_dropout)[..., None]
        tokens = tokens + self.positions[:count]
        return self.dropout(torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], dim=1))  # type: ignore[no-any-return]


def resize_positions(
    positions: Float[Tensor, "old dim"], old: Sequence[int], new: Sequence[int]
) -> Float[Tensor, "new dim"]:
    """Learned positions of grid `old` for grid `new`, interpolated linearly along each of 1 to 3 axes."""
    if tuple(old) == tuple(new):
        return positions
    if len(old) != len(new):
        raise ValueError(f"cannot resize positions of a {len(old)}-d grid {list(old)} to {list(new)}")
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(new)]
    table = positions.unflatten(0, tuple(old)).movedim(-1, 0)[None]
    return interpolate(table, tuple(new), mode=mode, align_corners=False)[0].movedim(0, -1).flatten(0, -2)


def _resize_loaded_positions(module: ModalityEmbedding, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    grid, positions = state.get(prefix + "grid"), state.get(prefix + "positions")
    if grid is not None and positions is not None and not torch.equal(grid.cpu(), module.grid.cpu()):
        old = [int(n) for n in grid]
        state[prefix + "positions"] = resize_positions(positions, old, module.spec.grid)
        state[prefix + "grid"] = module.grid
