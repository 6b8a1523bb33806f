"""Multimodal bottleneck fusion (MBT; Nagrani et al., NeurIPS 2021, section 3.2), the baseline with a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from locomt.nn.block import Block
from locomt.nn.per_modality import PerModality, Streams
from locomt.nn.rows import rows_of
from locomt.views import SELF, LayerViews
from locomt.views.reads import Range


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

    def forward(
        self,
        streams: Streams,
        bottleneck: Tensor,
        lengths: Tensor | None = None,
        outputs: Sequence[Range] | None = None,
        updates: bool = True,
    ) -> tuple[Streams, Tensor]:
        """Tokens `[B, L_i, D]` of every modality and the bottlenecks `[B, b, D]`, in and out.

        Args:
            streams, bottleneck: as above.
            lengths: `[B, m]`, how many leading tokens of each modality are real.
            outputs: of every modality the rows that are read, which alone are returned; all if None.
            updates: whether those of the bottlenecks are read; if not, they are returned as they came.
        """
        count = bottleneck.shape[1]
        out, found, weights = {}, [], []
        for i, (name, tokens) in enumerate(streams.items()):
            first, last = (0, tokens.shape[1]) if outputs is None else outputs[i]
            if tokens.shape[1] == 0 or not (updates or last > first):
                out[name] = rows_of(tokens, (0, 0))
                continue
            # Bottlenecks first, so that the real tokens of a padded sample still lead.
            joint = {"tokens": torch.cat([bottleneck, tokens], dim=1)}
            own = None if lengths is None else lengths[:, i : i + 1] + count
            rows = (0 if updates else count + first, count + last)
            assert not updates or first == 0, "rows that are not one range"
            whole = updates and last == tokens.shape[1]
            given = self.blocks.of(name)(joint, own, None, None if whole else (rows,))["tokens"]
            update, out[name] = given.split([count * updates, last - first], dim=1)
            found.append(update)
            if lengths is not None:
                weights.append((lengths[:, i] > 0).to(update.device, update.dtype))
        if not updates:
            return out, bottleneck
        stacked = torch.stack(found)
        if not weights:
            return out, stacked.mean(dim=0)
        weight = torch.stack(weights)[:, :, None, None]
        return out, (stacked * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1)
