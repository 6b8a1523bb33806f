"""Query and key ranges as numbers: what the op computes with, and C, the score pairs that it is charged for.

A *segment* is a range of tokens that is seen as a whole: a modality or, where some head tells them apart, its class
tokens and then the rest of it. A layer's *masks* are a whole number for every head and query segment, head by head: bit
j is set where key segment j is seen. The segments of one modality are neighbours, as many for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def split(lengths: Sequence[int], class_tokens: Sequence[int]) -> tuple[int, ...]:
    """Two segments for every modality of `lengths` tokens: those of its class tokens that are there, and the rest."""
    # No `min`, which would stay in a graph whose lengths are open.
    counts = [(length if length < most else most, length) for length, most in zip(lengths, class_tokens, strict=True)]
    return tuple(n for first, length in counts for n in (first, length - first))


def decode(masks: Sequence[int], segments: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """The key segments of every query segment, head by head."""
    for start in range(0, len(masks), segments):
        yield tuple(tuple(j for j in range(segments) if mask >> j & 1) for mask in masks[start : start + segments])


def same_modality(segment: int, own: int) -> range:
    """The segments of the modality that one of them belongs to, where each has `own`."""
    first = segment // own * own
    return range(first, first + own)


def query_pairs(lengths: Sequence[int], masks: Sequence[int], own: int = 0) -> list[int]:
    """The scores that the queries of each segment take, summed over the heads.

    Args:
        lengths: tokens of every segment.
        masks: see above.
        own: how many segments a modality has, where queries whose keys are all missing see their own modality
            instead; 0 where they see nothing.
    """
    pairs = [0] * len(lengths)
    for rows in decode(masks, len(lengths)):
        for i, keys in enumerate(rows):
            seen = sum(lengths[j] for j in keys)
            if own and keys and not seen:
                seen = sum(lengths[j] for j in same_modality(i, own))
            pairs[i] += lengths[i] * seen
    return pairs


def score_pairs(lengths: Sequence[int], masks: Sequence[int], own: int = 0) -> int:
    """C, summed over the heads; arguments as for `query_pairs`."""
    return sum(query_pairs(lengths, masks, own))
