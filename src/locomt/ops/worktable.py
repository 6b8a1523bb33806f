"""What each program of a fused kernel has to do: a row for every tile of tokens, made from the views."""

from __future__ import annotations

from collections.abc import Sequence

from locomt.ops.plan import decode, offsets


def work_rows(
    layout: Sequence[int], masks: Sequence[int], tile: int, by_key: bool, fall_back: bool = False
) -> list[list[list[int]]]:
    """For every head, one row for every tile of tokens; the columns are described in `fused_kernels`.

    Args:
        layout, masks: as everywhere in ops.
        tile: tokens of a tile.
        by_key: tiles of keys, which meet the queries that see them; else tiles of queries, which meet their keys.
        fall_back: queries that find nothing in the full layout see their own modality.

    Returns:
        Rows of equal length, the same number for every head, those with most work first.
    """
    m, start = len(layout), offsets(layout)
    heads = []
    for view in decode(masks, m):
        seen = [list(keys) for keys in view]
        if fall_back:
            seen = [[i] if keys and not any(layout[j] for j in keys) else keys for i, keys in enumerate(seen)]
        met = [[i for i in range(m) if j in seen[i]] for j in range(m)] if by_key else seen
        rows = []
        for i, size in enumerate(layout):
            others = [j for j in met[i] if layout[j]]
            mask = sum(1 << j for j in view[i])
            fields = [field for j in others for field in (j, start[j], layout[j])]
            blank = [0] * 3 * (m - len(others))
            for first in range(0, size, tile):
                rows.append([i, first, start[i], size, mask, len(others), *fields, *blank])
        rows.sort(key=lambda row: -sum(layout[j] for j in row[6 : 6 + 3 * row[5] : 3]))
        heads.append(rows)
    return heads
