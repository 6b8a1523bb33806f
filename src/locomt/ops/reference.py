"""The specification: a masked softmax over all tokens, on any device and in any dtype.

It computes the full `[N, N]` scores and is here to be compared with, not to be fast. Other backends never import it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from locomt.ops.padding import modality_of, real_tokens, zero_padding


def reference_attention(
    q_BHND: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    layout: list[int],
    masks: Sequence[int],
    lengths_BM: Tensor | None,
    scale: float,
    self_on_missing: bool,
) -> Tensor:
    """Attention in which head h's queries of modality i see the modalities whose bits `masks[h * m + i]` sets."""
    m, device = len(layout), q_BHND.device
    heads = len(masks) // m
    bits = torch.tensor(list(masks), device=device).view(heads, m, 1)
    allowed_BHMM = ((bits >> torch.arange(m, device=device)) & 1).bool()[None]
    modality_N = modality_of(layout, device)
    dtype = q_BHND.dtype
    q_BHND, k_BHND, v_BHND = (t.to(torch.promote_types(dtype, torch.float32)) for t in (q_BHND, k_BHND, v_BHND))
    if lengths_BM is not None:
        real_BN = real_tokens(lengths_BM, layout)
        q_BHND, k_BHND, v_BHND = (zero_padding(t, real_BN) for t in (q_BHND, k_BHND, v_BHND))
        if self_on_missing:
            allowed_BHMM = _look_at_self(allowed_BHMM, lengths_BM > 0)
    visible = allowed_BHMM[:, :, modality_N][:, :, :, modality_N]
    if lengths_BM is not None:
        visible = visible & real_BN[:, None, :, None] & real_BN[:, None, None, :]
    elif self_on_missing:
        present_1M = torch.tensor([[n > 0 for n in layout]], device=device)
        visible = _look_at_self(allowed_BHMM, present_1M)[:, :, modality_N][:, :, :, modality_N]
    scores = (q_BHND @ k_BHND.mT * scale).masked_fill(~visible, float("-inf"))
    # A row with no key at all would be 0/0: give it equal weights, which the next line takes away again.
    scores = scores.masked_fill(~visible.any(dim=-1, keepdim=True), 0)
    return (scores.softmax(dim=-1).masked_fill(~visible, 0) @ v_BHND).to(dtype)


def _look_at_self(allowed_BHMM: Tensor, present_BM: Tensor) -> Tensor:
    """Views under `on_missing="self"`: where all that a query modality sees is missing, it sees itself."""
    sees_any = allowed_BHMM.any(dim=-1, keepdim=True)
    finds_any = (allowed_BHMM & present_BM[:, None, None, :]).any(dim=-1, keepdim=True)
    own = torch.eye(present_BM.shape[1], dtype=torch.bool, device=present_BM.device)
    return allowed_BHMM | (own & sees_any & ~finds_any)
