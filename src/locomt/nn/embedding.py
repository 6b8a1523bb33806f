"""From raw inputs to tokens: patches or vectors, projected, with learned positions and a [CLS] in front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from locomt.nn.config import AudioSpec, FeatureSpec, ModalitySpec, TextSpec, VideoSpec, encodes
from locomt.nn.encoder import EncodedText

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped


class VideoPatches(nn.Module):
    """`[B, T, C, S, S]` to one token for each tubelet x patch x patch, frame after frame, row after row.

    uint8 frames are scaled to [-1, 1]; floating-point frames are taken as they are.
    """

    def __init__(self, spec: VideoSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        # A convolution whose stride is its kernel, written as the matrix product that it is.
        self.project = nn.Linear(spec.channels * spec.tubelet * spec.patch**2, dim)

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


class SpectrogramPatches(nn.Module):
    """`[B, T, mels]` to one token for each patch x patch, time step after time step, all frequencies of each.

    The patches may overlap. In time they reach beyond the end, into zeros, where no whole patch is left.
    """

    def __init__(self, spec: AudioSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.project = nn.Linear(spec.patch**2, dim)

    def forward(self, spectrogram: Float[Tensor, "batch time mels"]) -> Tensor:
        s = self.spec
        if spectrogram.ndim != 3 or spectrogram.shape[2] != s.mels:
            raise ValueError(f"expected a spectrogram [batch, time, {s.mels}], got {list(spectrogram.shape)}")
        time = min(s.grid[0], max(1, -(-(spectrogram.shape[1] - s.patch) // s.step) + 1))
        spectrogram = pad(spectrogram, (0, 0, 0, (time - 1) * s.step + s.patch - spectrogram.shape[1]))
        tokens = spectrogram.unfold(1, s.patch, s.step).unfold(2, s.patch, s.step).flatten(3).flatten(1, 2)
        return self.project(tokens)  # type: ignore[no-any-return]


class Vectors(nn.Module):
    """`[B, T, dim]` feature vectors to a token each."""

    def __init__(self, spec: FeatureSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.project = nn.Linear(spec.dim, dim)

    def forward(self, features: Float[Tensor, "batch time features"]) -> Tensor:
        if features.ndim != 3 or features.shape[2] != self.spec.dim:
            raise ValueError(f"expected features [batch, time, {self.spec.dim}], got {list(features.shape)}")
        return self.project(features)  # type: ignore[no-any-return]


class TokenIds(nn.Module):
    """`[B, T]` token ids to a token each."""

    def __init__(self, spec: TextSpec, dim: int) -> None:
        super().__init__()
        self.project = nn.Embedding(spec.vocabulary, dim)

    def forward(self, ids: Int[Tensor, "batch time"]) -> Tensor:
        if ids.ndim != 2 or ids.is_floating_point():
            raise ValueError(f"expected integer token ids [batch, time], got {ids.dtype} {list(ids.shape)}")
        return self.project(ids)  # type: ignore[no-any-return]


def _projection(spec: ModalitySpec, dim: int) -> nn.Module:
    if encodes(spec):
        return EncodedText(spec, dim)
    module: nn.Module = PROJECTIONS[type(spec)](spec, dim)
    return module


PROJECTIONS: dict[type, Any] = {
    VideoSpec: VideoPatches,
    AudioSpec: SpectrogramPatches,
    FeatureSpec: Vectors,
    TextSpec: TokenIds,
}


class ModalityEmbedding(nn.Module):
    """A modality's input to its tokens `[B, class tokens + grid tokens, dim]`, the [CLS] first.

    Inputs may be shorter in time than the spec says; they take the leading positions. Loading weights that were
    learned for another grid resizes the positions to this one's.
    """

    def __init__(self, spec: ModalitySpec, dim: int, dropout: float = 0.0, token_dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.token_dropout = token_dropout
        self.project = _projection(spec, dim)
        self.encodes = encodes(spec)
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
        """`lengths`, the real steps of each sample, are for a text encoder, which attends over them."""
        if inputs.ndim > 1 and inputs.shape[1] > self.spec.max_steps:
            raise ValueError(
                f"{self.spec.kind} input of {inputs.shape[1]} steps is longer than the {self.spec.max_steps} it was "
                "configured for"
            )
        tokens = self.project(inputs, lengths) if self.encodes else self.project(inputs)
        count = tokens.shape[1]
        if self.training and self.token_dropout:
            kept = torch.empty(tokens.shape[:2], dtype=tokens.dtype, device=tokens.device)
            tokens = tokens * kept.bernoulli_(1 - self.token_dropout)[..., None]
        tokens = tokens + self.positions[:count]
        return self.dropout(torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], dim=1))  # type: ignore[no-any-return]


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
