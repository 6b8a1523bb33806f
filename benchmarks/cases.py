"""The attention problems that are timed, and how many FLOPs each needs beside dense attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from locomt import LayerViews, TokenLayout


@dataclass(frozen=True)
class Case:
    """Attention over a batch of samples.

    Attributes:
        tokens: of each modality, in a full sample.
        views: one a head.
        padded: every sample's modalities have between half and all of these tokens, drawn evenly with a fixed seed.
    """

    batch: int
    width: int
    tokens: dict[str, int]
    views: str
    padded: bool = False

    @property
    def layout(self) -> TokenLayout:
        return TokenLayout(self.tokens)

    @property
    def layer(self) -> LayerViews:
        return LayerViews.parse(self.views, tuple(self.tokens))

    @property
    def heads(self) -> int:
        return len(self.layer.heads)

    @property
    def name(self) -> str:
        tokens = "+".join(map(str, self.tokens.values()))
        padded = " padded" if self.padded else ""
        return f"B{self.batch} H{self.heads} d{self.width} {tokens} {self.views}{padded}"

    @property
    def lengths(self) -> Tensor:
        """`[B, m]`: the real tokens of every sample."""
        full = torch.tensor(list(self.tokens.values()))
        if not self.padded:
            return full.repeat(self.batch, 1)
        half = (full + 1) // 2
        drawn = torch.rand(self.batch, len(full), generator=torch.Generator().manual_seed(0))
        return half + (drawn * (full - half + 1)).long()

    @property
    def pairs(self) -> int:
        """Scores that the views need, of all heads and samples, between real tokens alone."""
        layer = self.layer
        return sum(layer.score_pairs(dict(zip(self.tokens, row, strict=True))) for row in self.lengths.tolist())

    @property
    def dense_pairs(self) -> int:
        """What dense attention needs for the same real tokens."""
        return self.heads * sum(sum(row) ** 2 for row in self.lengths.tolist())

    @property
    def flop_ratio(self) -> float:
        return self.pairs / self.dense_pairs

    @property
    def flops(self) -> int:
        """Of the forward pass: 4 d C a head, a multiply-add counted as 2. The backward pass takes 2.5 times that."""
        return 4 * self.width * self.pairs


AV = {"video": 1569, "audio": 401}
THREE = {"video": 6272, "audio": 1024, "text": 512}
CUDA_CASES = (
    Case(32, 64, AV, "self:6 video~audio:6"),
    Case(32, 64, AV, "video~audio:12"),
    Case(32, 64, AV, "self:12"),
    Case(1, 64, AV, "self:6 video~audio:6"),
    Case(8, 64, THREE, "self:3 video~audio:3 video~text:3 audio~text:3"),
    Case(8, 128, {"video": 4096, "audio": 1024}, "self:4 video~audio:4"),
)
CPU_CASES = (Case(4, 64, AV, "self:6 video~audio:6"), Case(4, 64, AV, "video~audio:12"))


def cases(device: str) -> tuple[Case, ...]:
    """All full cases, then on CUDA the same ones padded."""
    if device == "cpu":
        return CPU_CASES
    return (*CUDA_CASES, *(replace(case, padded=True) for case in CUDA_CASES))
