"""The pre-norm transformer block, for one modality or for the fusion of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from locomt.nn.attention import ViewAttention, ViewMixture
from locomt.nn.per_modality import PerModality, Streams
from locomt.nn.rows import rows_of
from locomt.views import LayerViews
from locomt.views.reads import Range


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): drops a residual branch of a whole sample, in training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.rate or not self.training:
            return x
        keep = 1 - self.rate
        mask = torch.empty(x.shape[0], 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * mask / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def feed_forward(dim: int, ratio: float, dropout: float) -> nn.Sequential:
    """Two linear layers with a GELU between them, `ratio` times as wide inside."""
    hidden = int(dim * ratio)
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim), nn.Dropout(dropout))


class Block(nn.Module):
    """Attention that follows a layer's views, then feed-forward, each behind a layer norm with a residual.

    Over one modality with every head `self` it is the ordinary ViT block; over several it is a fusion layer.
    """

    def __init__(
        self,
        dim: int,
        views: LayerViews,
        *,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-5,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        shared_weights: bool = False,
        on_missing: str = "zero",
        class_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        names = views.modalities
        self.norm1 = PerModality(names, lambda _: nn.LayerNorm(dim, norm_eps), shared=shared_weights)
        self.attention = ViewAttention(
            dim, views, class_tokens=class_tokens, shared_weights=shared_weights, on_missing=on_missing
        )
        self.norm2 = PerModality(names, lambda _: nn.LayerNorm(dim, norm_eps), shared=shared_weights)
        self.mlp = PerModality(names, lambda _: feed_forward(dim, mlp_ratio, dropout), shared=shared_weights)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        streams: Streams,
        lengths: Tensor | None = None,
        mixture: ViewMixture | None = None,
        outputs: Sequence[Range] | None = None,
    ) -> Streams:
        """Tokens of every modality in and out; arguments as for `ViewAttention.streams`."""
        attended = self.attention.streams(self.norm1(streams), lengths, mixture, outputs)
        if outputs is not None:
            streams = {n: rows_of(x, rows) for (n, x), rows in zip(streams.items(), outputs, strict=True)}
        streams = {n: x + self.drop_path(self.dropout(attended[n])) for n, x in streams.items()}
        mixed = self.mlp(self.norm2(streams))
        return {n: x + self.drop_path(mixed[n]) for n, x in streams.items()}
