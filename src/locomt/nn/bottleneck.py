"""Multimodal bottleneck fusion (MBT; Nagrani et al., NeurIPS 2021, section 3.2), the baseline with a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from locomt.nn.block import Block
from locomt.nn.per_modality import PerModality, Streams
from locomt.views import SELF, LayerViews


class BottleneckBlock(nn.Module):
    """Each modality attends over the bottleneck tokens and its own; the bottlenecks' updates are averaged.

    A modality that a sample lacks takes no part in the sample's average.
    """

    def __init__(
        self,
        dim: int,
        modalities: tuple[str, ...],
        heads: int,
        *,
        shared_weights: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        views = LayerViews(("tokens",), (SELF,) * heads)
        self.blocks = PerModality(modalities, lambda _: Block(dim, views, **options), shared=shared_weights)

    def forward(self, streams: Streams, bottleneck: Tensor, lengths: Tensor | None = None) -> tuple[Streams, Tensor]:
        """Tokens `[B, L_i, D]` of every modality and the bottlenecks `[B, b, D]`, in and out."""
        count = bottleneck.shape[1]
        out, updates, weights = {}, [], []
        for i, (name, tokens) in enumerate(streams.items()):
            if tokens.shape[1] == 0:
                out[name] = tokens
                continue
            # Bottlenecks first, so that the real tokens of a padded sample still lead.
            joint = {"tokens": torch.cat([bottleneck, tokens], dim=1)}
            own = None if lengths is None else lengths[:, i : i + 1] + count
            update, out[name] = self.blocks.of(name)(joint, own)["tokens"].split([count, tokens.shape[1]], dim=1)
            updates.append(update)
            if lengths is not None:
                weights.append((lengths[:, i] > 0).to(update.device, update.dtype))
        stacked = torch.stack(updates)
        if not weights:
            return out, stacked.mean(dim=0)
        weight = torch.stack(weights)[:, :, None, None]
        return out, (stacked * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1)
