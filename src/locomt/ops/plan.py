"""Which dense attentions a layer's views amount to: shared by every backend that skips what no head sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter


@dataclass(frozen=True)
class Call:
    """One dense attention: heads `heads[0]:heads[1]`, query modalities `queries`, key modalities `keys`.

    Query and key modalities are indices into the layout; `queries` are neighbours, so their tokens are one slice.
    """

    heads: tuple[int, int]
    queries: tuple[int, ...]
    keys: tuple[int, ...]


def decode(masks: Sequence[int], modalities: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """The key modalities of every query modality, head by head; `masks` as in `LayerViews.masks`."""
    for start in range(0, len(masks), modalities):
        yield tuple(tuple(j for j in range(modalities) if mask >> j & 1) for mask in masks[start : start + modalities])


def head_runs(masks: Sequence[int], modalities: int) -> list[tuple[int, int]]:
    """First and last + 1 head of every run of neighbouring heads with one view."""
    runs, head = [], 0
    for _, run in groupby(decode(masks, modalities)):
        runs.append((head, head + len(list(run))))
        head = runs[-1][1]
    return runs


@lru_cache(maxsize=1024)
def plan_calls(lengths: tuple[int, ...], masks: tuple[int, ...], self_on_missing: bool = False) -> tuple[Call, ...]:
    """The dense attentions for modalities of `lengths` tokens, as few as their slices allow.

    Neighbouring heads of one view share a call, and so do neighbouring query modalities that see the same keys.
    Modalities without tokens take no part; a query that sees no key appears in no call.
    """
    calls = []
    views = list(decode(masks, len(lengths)))
    for heads in head_runs(masks, len(lengths)):
        seen = []
        for i, keys in enumerate(views[heads[0]]):
            found = tuple(j for j in keys if lengths[j])
            if keys and not found and self_on_missing:
                found = (i,)
            if lengths[i]:
                seen.append((i, found))
        for keys, group in groupby(seen, key=itemgetter(1)):
            if keys:
                calls.append(Call(heads, tuple(i for i, _ in group), keys))
    return tuple(calls)


def score_pairs(lengths: Sequence[int], masks: Sequence[int], self_on_missing: bool = False) -> int:
    """Query-key scores of one sample, all heads: the sum of C(view), and what queries spend on their own modality."""
    total = 0
    for rows in decode(masks, len(lengths)):
        for i, keys in enumerate(rows):
            seen = sum(lengths[j] for j in keys)
            total += lengths[i] * (lengths[i] if keys and not seen and self_on_missing else seen)
    return total


def offsets(lengths: Sequence[int]) -> list[int]:
    """Where each modality begins, and at the end their total."""
    result = [0]
    for length in lengths:
        result.append(result[-1] + length)
    return result
