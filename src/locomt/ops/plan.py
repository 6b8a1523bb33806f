"""What a layer's views amount to: query and key ranges, and the fewest dense attentions over them.

The op and its backends know of no view: they take segments, ranges of tokens that are seen as a whole, and masks that
say which segments see which (`locomt.views.segments`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

from locomt.layout import TokenLayout
from locomt.views import LayerViews
from locomt.views.reads import Range
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


def segments(
    layout: TokenLayout, views: LayerViews, lengths: Tensor | None = None, queries: Sequence[Range] | None = None
) -> Segments:
    """The modalities or, where something tells their tokens apart, as many parts of each.

    Args:
        layout: of the modalities.
        views: of the heads.
        lengths: `[B, m]`, how many leading tokens of each modality are real.
        queries: of each modality the rows whose outputs are read; None where all are.
    """
    if views.parts == 1 and queries is None:
        return Segments(list(layout.lengths), list(views.masks), lengths)
    if queries is None:
        first = layout.segments[::2]
        cuts: tuple[tuple[int, ...], ...] = tuple(zip(first, layout.lengths, strict=True))
        masks = views.masks
    else:
        cuts, masks = (_cut if torch.compiler.is_compiling() else _cut_once)(layout, views, tuple(queries))
    if lengths is not None:
        pieces = []
        for i, ends in enumerate(cuts):
            before = torch.zeros_like(lengths[:, i])
            for end in ends:
                upto = lengths[:, i].clamp(max=end)
                pieces.append(upto - before)
                before = upto
        lengths = torch.stack(pieces, dim=1)
    sizes = [end - start for ends in cuts for start, end in zip((0, *ends), ends, strict=False)]
    return Segments(sizes, list(masks), lengths)


def _cut(
    layout: TokenLayout, views: LayerViews, queries: tuple[Range, ...]
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Where the segments of every modality end, as many for each, and the masks over them."""
    firsts = layout.segments[::2]
    ends = []
    for n, first, rows in zip(layout.lengths, firsts, queries, strict=True):
        inner = ascending([*rows, *((first,) if views.parts == 2 else ())])
        ends.append((*(end for end in inner if end not in (0, n)), n))
    parts = max(map(len, ends))
    cuts = tuple((*own, *(own[-1:] * (parts - len(own)))) for own in ends)
    # By segment of the views, those of ours that it is made of.
    made_of = []
    for j, own in enumerate(cuts):
        bits = [1 << parts * j + p for p in range(parts)]
        for rest in (False, True)[: views.parts]:
            whole = views.parts == 1
            made_of.append(sum(bit for bit, end in zip(bits, own, strict=True) if whole or (end > firsts[j]) == rest))
    masks = []
    for head in decode(views.masks, len(made_of)):
        for i, own in enumerate(cuts):
            # Whether a query is a class token changes nothing: views tell keys apart.
            mask = sum(made_of[j] for j in head[views.parts * i])
            first, last = queries[i]
            masks += [mask if first <= start and end <= last else 0 for start, end in zip((0, *own), own, strict=False)]
    return cuts, tuple(masks)


_cut_once = lru_cache(maxsize=1024)(_cut)


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


def ascending(values: Iterable[int]) -> list[int]:
    """Sorted, each of them once: by comparing them, for sizes that a graph leaves open have no hash."""
    return [value for value, _ in groupby(sorted(values))]


def calls_of(lengths: tuple[int, ...], masks: tuple[int, ...], own: int = 0) -> tuple[Call, ...]:
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


plan_calls = lru_cache(maxsize=1024)(calls_of)


def offsets(lengths: Sequence[int]) -> list[int]:
    """Where each segment begins, and at the end their total."""
    result = [0]
    for length in lengths:
        result.append(result[-1] + length)
    return result
