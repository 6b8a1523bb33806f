"""The specification: a masked softmax over all tokens, on any device and in any dtype.

It computes the full `[N, N]` scores and is here to be compared with, not to be fast. Other backends never import it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from locomt.ops.padding import real_tokens, segment_of, zero_padding


def reference_attention(
    q_BHND: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    layout: list[int],
    masks: Sequence[int],
    lengths_BM: Tensor | None,
    scale: float,
    own: int,
) -> Tensor:
    """Attention in which head h's queries of segment i see the segments whose bits `masks[h * m + i]` sets.

    Args:
        q_BHND, k_BHND, v_BHND: the tokens of one segment after the other's.
        layout, masks, lengths_BM: as `locomt.ops.plan.segments` gives them.
        scale: of the scores.
        own: how many segments a modality has, where queries that find nothing see their own; 0 where they do not.
    """
    dtype, device = q_BHND.dtype, q_BHND.device
    q_BHND, k_BHND, v_BHND = (t.to(torch.promote_types(dtype, torch.float32)) for t in (q_BHND, k_BHND, v_BHND))
    if lengths_BM is None:
        lengths_BM = torch.tensor([layout])
    lengths_BM = lengths_BM.to(device)
    real_BN = real_tokens(lengths_BM, layout)
    q_BHND, k_BHND, v_BHND = (zero_padding(t, real_BN) for t in (q_BHND, k_BHND, v_BHND))
    visible_BHNN = visible(layout, masks, lengths_BM, own)
    scores = (q_BHND @ k_BHND.mT * scale).masked_fill(~visible_BHNN, float("-inf"))
    # A row with no key at all would be 0/0: give it equal weights, which the next line takes away again.
    scores = scores.masked_fill(~visible_BHNN.any(dim=-1, keepdim=True), 0)
    return (scores.softmax(dim=-1).masked_fill(~visible_BHNN, 0) @ v_BHND).to(dtype)


def visible(layout: list[int], masks: Sequence[int], lengths_BM: Tensor, own: int) -> Tensor:
    """`[B, H, N, N]`: whether a query (third axis) sees a key (fourth)."""
    m, device = len(layout), lengths_BM.device
    bits = torch.tensor(list(masks), device=device).view(len(masks) // m, m, 1)
    allowed_BHMM = ((bits >> torch.arange(m, device=device)) & 1).bool()[None]
    if own:
        modality_M = torch.arange(m, device=device) // own
        present_B11M = (lengths_BM > 0)[:, None, None, :]
        looks = allowed_BHMM.any(dim=-1, keepdim=True)
        finds = (allowed_BHMM & present_B11M).any(dim=-1, keepdim=True)
        allowed_BHMM = allowed_BHMM | ((modality_M[:, None] == modality_M) & looks & ~finds)
    segment_N = segment_of(layout, device)
    real_BN = real_tokens(lengths_BM, layout)
    seen = allowed_BHMM[:, :, segment_N][:, :, :, segment_N]
    return seen & real_BN[:, None, :, None] & real_BN[:, None, None, :]
