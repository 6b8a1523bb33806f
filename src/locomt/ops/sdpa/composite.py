"""The backend `sdpa` in ordinary torch operators, for graphs that leave locomt: `torch.export` and other runtimes.

It computes what `calls.py` computes from plain slices, `scaled_dot_product_attention` and concatenation, so that an
exported program needs no operator of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from locomt.ops.padding import real_tokens, visible_keys, zero_padding
from locomt.ops.plan import calls_of, head_runs, offsets


def composite_attention(
    q_BHND: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    layout: list[int],
    masks: Sequence[int],
    lengths_BM: Tensor | None,
    scale: float,
    own: int,
) -> Tensor:
    """Same arguments and result as `reference_attention`."""
    start = offsets(layout)
    b, _, _, d = q_BHND.shape
    if lengths_BM is not None:
        real_BN = real_tokens(lengths_BM, layout)
        q_BHND, k_BHND, v_BHND = (zero_padding(t, real_BN) for t in (q_BHND, k_BHND, v_BHND))
    pieces: dict[tuple[int, int], Tensor] = {}  # by first head and query modality
    runs = head_runs(masks, len(layout))
    for first, last in runs:
        for i, length in enumerate(layout):
            pieces[first, i] = q_BHND.new_zeros(b, last - first, length, d)
    for call in calls_of(tuple(layout), tuple(masks), own):
        group, queries = slice(*call.heads), slice(start[call.queries[0]], start[call.queries[-1] + 1])
        keys, mask, idle = list(call.keys), None, None
        if lengths_BM is not None:
            keys, visible_BK = visible_keys(call, lengths_BM, layout, own)
            none_B1 = ~visible_BK.any(dim=1, keepdim=True)
            mask = (visible_BK | none_B1)[:, None, None, :]
            idle = (none_B1 | ~real_BN[:, queries])[:, None, :, None]
        k, v = (torch.cat([t[:, group, start[j] : start[j + 1]] for j in keys], dim=2) for t in (k_BHND, v_BHND))
        out = scaled_dot_product_attention(q_BHND[:, group, queries], k, v, attn_mask=mask, scale=scale)
        if idle is not None:
            out = out.masked_fill(idle, 0)
        for i, piece in zip(call.queries, out.split([layout[i] for i in call.queries], dim=2), strict=True):
            pieces[call.heads[0], i] = piece
    return torch.cat([torch.cat([pieces[first, i] for i in range(len(layout))], dim=2) for first, _ in runs], dim=1)
