"""What each program of a fused kernel has to do: a row for every tile of tokens, made from the views."""

from __future__ import annotations

from collections.abc import Sequence

from locomt.ops.plan import offsets
from locomt.views.segments import decode, same_modality


def work_rows(
    layout: Sequence[int], masks: Sequence[int], tile: int, by_key: bool, own: int = 0
) -> list[list[list[int]]]:
    """For every head, one row for every tile of tokens; the columns are described in `triton/fused_kernels.py`.

    Args:
        layout, masks, own: as everywhere in ops.
        tile: tokens of a tile.
        by_key: tiles of keys, which meet the queries that see them; else tiles of queries, which meet their keys.

    Returns:
        Rows of equal length, the same number for every head, those with most work first.
    """
    m, start = len(layout), offsets(layout)
    heads = []
    for view in decode(masks, m):
        seen = [list(keys) for keys in view]
        if own:  # where the layout itself has none of the keys
            seen = [
                [*same_modality(i, own)] if keys and not any(layout[j] for j in keys) else keys
                for i, keys in enumerate(seen)
            ]
        met = [[i for i in range(m) if j in seen[i]] for j in range(m)] if by_key else seen
        rows = []
        for i, size in enumerate(layout):
            others = [j for j in met[i] if layout[j]]
            mask = sum(1 << j for j in seen[i])
            # Met where a sample has none of the keys: who meets its own modality anyway never does without.
            instead: Sequence[int] = same_modality(i, own) if own else ()
            if set(instead) & set(met[i]):
                instead = ()
            fields = [field for j in (*others, *instead) for field in (j, start[j], layout[j])]
            blank = [0] * (3 * m - len(fields))
            for first in range(0, size, tile):
                rows.append([i, first, start[i], size, mask, len(others), *fields, *blank])
        rows.sort(key=lambda row: -met_tokens(row))
        heads.append(rows)
    return heads


def met_tokens(row: Sequence[int]) -> int:
    """The tokens of all segments that a tile meets."""
    return sum(row[8 : 8 + 3 * row[5] : 3])
