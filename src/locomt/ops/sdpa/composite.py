"""The backend `sdpa` in ordinary torch operators, for graphs that leave locomt: `torch.export` and other runtimes.

It computes what `calls.py` computes from plain slices, `scaled_dot_product_attention` and concatenation, so that an
exported program needs no operator of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from locomt.ops.padding import neighbours, real_tokens, visible_keys, zero_padding
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
    if lengths_BM is not None:
        real_BN = real_tokens(lengths_BM, layout)
        k_BHND, v_BHND = zero_padding(k_BHND, real_BN), zero_padding(v_BHND, real_BN)  # queries are cleared behind
    done: dict[int, list[tuple[int, int, Tensor]]] = {first: [] for first, _ in head_runs(masks, len(layout))}
    for call in calls_of(tuple(layout), tuple(masks), own):
        group, (begin, end) = slice(*call.heads), (call.queries[0], call.queries[-1] + 1)
        queries, keys, mask = slice(start[begin], start[end]), list(call.keys), None
        if lengths_BM is not None:
            keys, visible_BK = visible_keys(call, lengths_BM, real_BN, layout, own)
            none_B1 = ~visible_BK.any(dim=1, keepdim=True)
            mask = (visible_BK | none_B1)[:, None, None, :]
        k, v = (_joined([t[:, group, i:j] for i, j in neighbours(keys, start)]) for t in (k_BHND, v_BHND))
        out = scaled_dot_product_attention(q_BHND[:, group, queries], k, v, attn_mask=mask, scale=scale)
        if lengths_BM is not None:
            out = out.masked_fill((none_B1 | ~real_BN[:, queries])[:, None, :, None], 0)
        done[call.heads[0]].append((begin, end, out))
    rows = []
    for first, last in head_runs(masks, len(layout)):
        parts, at = [], 0
        sequel: list[tuple[int, int, Tensor | None]] = [*done[first], (len(layout), len(layout), None)]
        for begin, end, own_out in sequel:
            if any(layout[at:begin]):  # queries that see nothing
                nothing = (q_BHND.shape[0], last - first, start[begin] - start[at], q_BHND.shape[3])
                parts.append(q_BHND.new_zeros(nothing))
            parts += [] if own_out is None else [own_out]
            at = end
        rows.append(_joined(parts or [q_BHND[:, first:last]]))  # or there are no tokens at all
    return torch.cat(rows, dim=1)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
