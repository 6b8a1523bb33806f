"""What each fusion layer of a model computes, and the tokens on their way through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from locomt.nn.config import FusionConfig
from locomt.nn.per_modality import Streams
from locomt.nn.rows import rows_of
from locomt.views import LayerViews, View, ViewTable
from locomt.views.reads import (
    ALL,
    CLASS,
    NONE,
    REST,
    BottleneckReads,
    LayerReads,
    Range,
    Rows,
    bottleneck_reads,
    everything,
    range_of,
    table_reads,
)


class Step(NamedTuple):
    """What one layer computes.

    Attributes:
        inputs: the rows of what it is given that it reads.
        outputs: the rows of what it gives that are read.
        whole: whether all is read that it can compute.
        updates: of MBT, whether those of the bottlenecks are read.
    """

    inputs: Rows
    outputs: Rows
    whole: bool
    updates: bool = True


class Held(NamedTuple):
    """The tokens of a batch between two layers.

    Attributes:
        streams: of every modality, the rows that somebody reads.
        rows: which those are.
        tokens: `[B, m]`, how many tokens each sample has in all; None where all are full.
        there: the rows that the batch has in all.
    """

    streams: Streams
    rows: Rows
    tokens: Tensor | None
    there: Rows

    def ranges(self, rows: Rows, class_tokens: Sequence[int]) -> tuple[Range, ...]:
        """Where some of the rows lie in the streams."""
        return tuple(
            range_of(ALL if some == own else some, stream.shape[1], first)
            for some, own, stream, first in zip(rows, self.rows, self.streams.values(), class_tokens, strict=True)
        )

    def cut(self, rows: Rows, class_tokens: Sequence[int]) -> Held:
        """With some of the rows alone."""
        if rows == self.rows:
            return self
        own = self.ranges(rows, class_tokens)
        streams = {n: rows_of(x, some) for (n, x), some in zip(self.streams.items(), own, strict=True)}
        return self._replace(streams=streams, rows=rows)

    def lengths(self, class_tokens: Sequence[int]) -> Tensor | None:
        """`[B, m]`: how many of the rows are real."""
        if self.tokens is None or self.rows == self.there:
            return self.tokens
        columns = []
        for rows, first, own in zip(self.rows, class_tokens, self.tokens.unbind(1), strict=True):
            few = own.clamp(max=first)
            columns.append({NONE: torch.zeros_like(own), CLASS: few, REST: own - few, ALL: own}[rows])
        return torch.stack(columns, dim=1)


def answer_rows(config: FusionConfig) -> Rows:
    """The rows behind the last layer that the head reads."""
    read = REST if config.steps or config.time_steps else CLASS
    return tuple(read if name in config.read else NONE for name in config.modalities)


def answer_ranges(config: FusionConfig) -> tuple[Range, ...]:
    """Where those lie in full samples."""
    layout = config.layout
    sizes = zip(answer_rows(config), layout.lengths, layout.class_tokens.values(), strict=True)
    return tuple(range_of(*own) for own in sizes)


def reads(
    config: FusionConfig,
    table: ViewTable | None,
    there: Rows,
    padded: bool = False,
    views: Sequence[View] | None = None,
) -> tuple[LayerReads, ...] | tuple[BottleneckReads, ...]:
    """What is read of every fusion layer, from the lowest up.

    Args:
        config: of the model.
        table: of views that it follows; None for `mbt`.
        there: the rows that a batch has.
        padded: whether samples may lack what the batch has.
        views: by all of which each head attends at once, in place of the table.
    """
    answer = answer_rows(config)
    if table is None:
        return bottleneck_reads(config.fusion_layers, answer, there)
    choices: list[tuple[LayerViews, ...]] = [(layer,) for layer in table.layers]
    if views is not None:
        each = tuple(LayerViews(table.modalities, (view,) * table.num_heads) for view in views)
        choices = [each] * len(choices)
    own = 0 if config.on_missing == "zero" else 2 if padded else 1
    return table_reads(choices, answer, there, own)


def plan(
    config: FusionConfig, table: ViewTable | None, there: Rows, padded: bool, views: Sequence[View] | None
) -> tuple[Step, ...]:
    """What every fusion layer computes; arguments as for `reads`."""
    steps = []
    for layer in reads(config, table, there, padded, views):
        if isinstance(layer, BottleneckReads):
            steps.append(
                Step(layer.inputs, layer.outputs, layer.outputs == there and layer.bottlenecks, layer.bottlenecks)
            )
        else:
            steps.append(Step(layer.inputs, layer.outputs, layer == everything(len(layer.heads), there)))
    return tuple(steps)
