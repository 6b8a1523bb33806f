"""Audio: a spectrogram, cut into patches that may overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from locomt.nn.checkpoint import AST, VIT, Checkpoint
from locomt.nn.fields import LONG, WIDE
from locomt.nn.modalities.base import ModalitySpec
from locomt.nn.patches import Patches, resize_table
from locomt.require import require

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class AudioSpec(ModalitySpec):
    """A log-mel spectrogram `[B, frames, mels]`, cut into square patches.

    Attributes:
        stride: frames and bands from one patch to the next. 0 stands for `patch`; less than `patch` makes them overlap,
            as those of AST do (Gong et al., Interspeech 2021: 10). What no whole patch fits into at the end is then
            left out.
        class_tokens: tokens in front of the patches, of whose outputs the head reads the mean: 1, the [CLS], or 2, with
            AST's distillation token.
        standardise: take every band less its mean, and over its standard deviation, in the training data.
    """

    kind: ClassVar[str] = "audio"
    most: ClassVar[Mapping[str, int]] = {"frames": LONG, "mels": WIDE, "patch": WIDE, "class_tokens": WIDE}
    checkpoints: ClassVar[tuple[str, ...]] = (AST, VIT)
    frames: int = 800
    mels: int = 128
    patch: int = 16
    stride: int = 0
    class_tokens: int = 1
    standardise: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.stride <= self.patch,
            f"audio stride: expected 0 to the patch of {self.patch}, got {self.stride}",
        )
        for name in ("frames", "mels"):
            size = getattr(self, name)
            require(size >= self.patch, f"audio {name} {size} is less than its patch {self.patch}")
            if self.step == self.patch:
                self.check_multiple(name, of="patch")

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along time and frequency."""
        return ((self.frames - self.patch) // self.step + 1, (self.mels - self.patch) // self.step + 1)

    @property
    def standardised(self) -> int:
        return self.mels if self.standardise else 0

    @property
    def step(self) -> int:
        return self.stride or self.patch

    @property
    def window(self) -> int:
        return self.patch

    @property
    def max_steps(self) -> int:
        return self.frames

    @property
    def inputs_per_token(self) -> int:
        return self.patch**2

    def projection(self, dim: int) -> nn.Module:
        return SpectrogramPatches(self, dim)

    def example_input(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        return torch.randn(batch, self.frames, self.mels, device=device)

    def fixed_by(self, checkpoint: Checkpoint) -> dict[str, int]:
        return {"patch": checkpoint.patch[0]}

    def lay(self, checkpoint: Checkpoint, patches: Patches, inflation: str) -> Patches:
        # A spectrogram is a grey picture, frequency its height and time its width; ours has time first.
        positions = resize_table(patches.positions.transpose(0, 1), self.grid)
        return Patches(patches.kernel.sum(dim=1).mT, patches.bias, positions)


class SpectrogramPatches(nn.Module):
    """`[B, T, mels]` to one token for each patch x patch, time step after time step, all frequencies of each.

    The patches may overlap. In time they reach beyond the end, into zeros, where no whole patch is left.
    """

    def __init__(self, spec: AudioSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.project = nn.Linear(spec.inputs_per_token, dim)

    def forward(self, spectrogram: Float[Tensor, "batch time mels"]) -> Tensor:
        s = self.spec
        if spectrogram.ndim != 3 or spectrogram.shape[2] != s.mels:
            raise ValueError(f"expected a spectrogram [batch, time, {s.mels}], got {list(spectrogram.shape)}")
        time = -(-(spectrogram.shape[1] - s.patch) // s.step) + 1
        if not 1 <= time <= s.grid[0]:  # `min` and `max` would stay in a graph whose lengths are open
            time = min(s.grid[0], max(1, time))
        spectrogram = pad(spectrogram, (0, 0, 0, (time - 1) * s.step + s.patch - spectrogram.shape[1]))
        tokens = spectrogram.unfold(1, s.patch, s.step).unfold(2, s.patch, s.step).flatten(3).flatten(1, 2)
        return self.project(tokens)  # type: ignore[no-any-return]
