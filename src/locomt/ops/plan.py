"""What a layer's views amount to: query and key ranges, and the fewest dense attentions over them.

The op and its backends know of no view: they take segments, ranges of tokens that are seen as a whole, and masks that
say which segments see which (`locomt.views.segments`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

from locomt.layout import TokenLayout
from locomt.views import LayerViews
from locomt.views.segments import decode, same_modality


class Segments(NamedTuple):
    """Ranges of tokens that are seen as a whole, one after the other.

    Attributes:
        layout: how many tokens each has.
        masks: for every head and query segment what it sees.
        lengths: `[B, segments]`, how many leading tokens of each are real; None where all are.
    """

    layout: list[int]
    masks: list[int]
    lengths: Tensor | None


def segments(layout: TokenLayout, views: LayerViews, lengths: Tensor | None = None) -> Segments:
    """The modalities or, where a head tells their class tokens apart, those and the rest of each.

    Args:
        layout: of the modalities.
        views: of the heads.
        lengths: `[B, m]`, how many leading tokens of each modality are real.
    """
    if views.parts == 1:
        return Segments(list(layout.lengths), list(views.masks), lengths)
    if lengths is not None:
        pieces = []
        for i, count in enumerate(layout.class_tokens.values()):
            first = lengths[:, i].clamp(max=count)
            pieces += [first, lengths[:, i] - first]
        lengths = torch.stack(pieces, dim=1)
    return Segments(list(layout.segments), list(views.masks), lengths)


@dataclass(frozen=True)
class Call:
    """One dense attention: heads `heads[0]:heads[1]`, query segments `queries`, key segments `keys`.

    Segments are indices into the layout; `queries` are neighbours, so their tokens are one slice.
    """

    heads: tuple[int, int]
    queries: tuple[int, ...]
    keys: tuple[int, ...]


def head_runs(masks: Sequence[int], segments: int) -> list[tuple[int, int]]:
    """First and last + 1 head of every run of neighbouring heads with one view."""
    runs, head = [], 0
    for _, run in groupby(decode(masks, segments)):
        runs.append((head, head + len(list(run))))
        head = runs[-1][1]
    return runs


@lru_cache(maxsize=1024)
def plan_calls(lengths: tuple[int, ...], masks: tuple[int, ...], own: int = 0) -> tuple[Call, ...]:
    """The dense attentions for segments of `lengths` tokens, as few as their slices allow.

    Neighbouring heads of one view share a call, and so do neighbouring query segments that see the same keys and, where
    `own` (see `locomt.views.segments.query_pairs`) has them look elsewhere, would look to the same.
    Segments without tokens take no part; a query that sees no key appears in no call.
    """
    calls = []
    views = list(decode(masks, len(lengths)))
    for heads in head_runs(masks, len(lengths)):
        seen = []
        for i, keys in enumerate(views[heads[0]]):
            found = tuple(j for j in keys if lengths[j])
            instead = tuple(j for j in same_modality(i, own) if lengths[j]) if own and keys else ()
            found = found or instead
            if lengths[i]:
                seen.append((i, found, () if set(instead) & set(found) else instead))
        for (keys, _), group in groupby(seen, key=itemgetter(1, 2)):
            if keys:
                calls.append(Call(heads, tuple(i for i, *_ in group), keys))
    return tuple(calls)


def offsets(lengths: Sequence[int]) -> list[int]:
    """Where each segment begins, and at the end their total."""
    result = [0]
    for length in lengths:
        result.append(result[-1] + length)
    return result
