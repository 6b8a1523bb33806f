"""Which tokens are real and which keys a query falls back to, where samples are padded or miss a modality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from locomt.ops.plan import Call, offsets
from locomt.views.segments import same_modality


def unpadded(layout: list[int], lengths_BM: Tensor | None) -> bool:
    """Whether every sample is full, as far as can be told without waiting for a device."""
    return lengths_BM is None or (lengths_BM.device.type == "cpu" and bool((lengths_BM == torch.tensor(layout)).all()))


def real_tokens(lengths_BM: Tensor, layout: list[int]) -> Tensor:
    """`[B, N]`: whether a token is one of the leading `lengths_BM[b, i]` tokens of its segment."""
    position_N = torch.cat([torch.arange(n, device=lengths_BM.device) for n in layout])
    segment_N = segment_of(layout, lengths_BM.device)
    return position_N < lengths_BM[:, segment_N]


def segment_of(layout: list[int], device: torch.device) -> Tensor:
    """`[N]`: the index of every token's segment."""
    return torch.cat([torch.full((n,), i, device=device) for i, n in enumerate(layout)])


def neighbours(segments: Sequence[int], start: Sequence[int]) -> list[tuple[int, int]]:
    """From where to where some segments reach, those that follow each other together."""
    found: list[tuple[int, int]] = []
    for place, j in enumerate(segments):
        if place and segments[place - 1] == j - 1:
            found[-1] = (found[-1][0], start[j + 1])
        else:
            found.append((start[j], start[j + 1]))
    return found


def zero_padding(tensor_BHND: Tensor, real_BN: Tensor) -> Tensor:
    """Padding may hold anything, NaN too, and 0 * NaN is NaN: so it is cleared, not only masked."""
    return torch.where(real_BN[:, None, :, None], tensor_BHND, 0)


def visible_keys(
    call: Call, lengths_BM: Tensor, real_BN: Tensor, layout: list[int], own: int
) -> tuple[list[int], Tensor]:
    """The key segments that a call has to load, and `[B, K]`, which of their tokens each sample sees.

    With `own`, queries whose keys are all missing from the sample see their own modality instead.
    """
    keys = list(call.keys)
    start = offsets(layout)
    seen = [real_BN[:, begin:end] for begin, end in neighbours(keys, start)]
    # Of a modality of which any token is among the keys, a query finds itself a key.
    instead: Sequence[int] = same_modality(call.queries[0], own) if own else ()
    if instead and not set(instead) & set(keys):
        missing_B1 = (lengths_BM[:, keys] == 0).all(dim=1, keepdim=True)
        for j in instead:
            if layout[j]:
                seen.append(real_BN[:, start[j] : start[j + 1]] & missing_B1)
                keys.append(j)
    return keys, torch.cat(seen, dim=1)
