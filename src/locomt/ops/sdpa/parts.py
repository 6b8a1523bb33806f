"""How an attention over views is divided into dense ones, and where the pieces of its tensors lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from locomt.ops.padding import real_tokens, unpadded, visible_keys, zero_padding
from locomt.ops.plan import Call, offsets, plan_calls

Ranges = tuple[slice, ...]

CALL_FLOPS, COPY_FLOPS = 1.5e6, 120
"""What calls cost besides, in floating-point operations of attention that take as long: each call, and each number of
the output, which calls copy to its place. Timed on one CPU core by a scratch script: of two modalities, half of the
heads cross, one call with a mask is the faster up to 50 tokens at any batch size, and up to 200 at batch 1.
"""
KEPT = 16
"""How many divisions of padded batches are kept: the layers of a model ask for the same ones, batch by batch."""


@dataclass(frozen=True)
class Part:
    """One dense attention.

    Attributes:
        heads: which of them.
        rows: its queries' tokens.
        keys: its keys' tokens.
        bias: `[B or 1, H or 1, rows, keys]`, 0 where a query sees a key and else minus infinity; None where all do.
        idle: `[B or 1, H or 1, rows, 1]`, where a query sees nothing, or is padding; None where none is.
    """

    heads: slice
    rows: Ranges
    keys: Ranges
    bias: Tensor | None = None
    idle: Tensor | None = None

    def rows_of(self, tensor: Tensor) -> Tensor:
        return _taken(tensor, self.heads, self.rows)

    def keys_of(self, tensor: Tensor) -> Tensor:
        return _taken(tensor, self.heads, self.keys)

    def put(self, whole: Tensor, own: Tensor) -> None:
        """Copy what its queries got to their place."""
        _put(whole, self.heads, self.rows, own, add=False)

    def put_keys(self, whole: Tensor, own: Tensor, *, add: bool) -> None:
        """Copy what its keys got to their place, or add it to what is there."""
        _put(whole, self.heads, self.keys, own, add=add)


def _taken(tensor: Tensor, heads: slice, ranges: Ranges) -> Tensor:
    if len(ranges) == 1:
        return tensor[:, heads, ranges[0]]
    return torch.cat([tensor[:, heads, some] for some in ranges], dim=2)


def _put(whole: Tensor, heads: slice, ranges: Ranges, own: Tensor, *, add: bool) -> None:
    pieces = own.split([_size(some) for some in ranges], dim=2) if len(ranges) > 1 else (own,)
    for some, piece in zip(ranges, pieces, strict=True):
        target = whole[:, heads, some]
        target.add_(piece) if add else target.copy_(piece)


def _size(some: slice) -> int:
    return int(some.stop - some.start)


@dataclass(frozen=True)
class Division:
    """An attention as dense ones.

    Attributes:
        parts: they are.
        whole: whether every query of every head is in a part.
        once: whether no key of any head is in two parts.
        all_keys: whether every key of every head is in a part.
        real: `[B, N]`, which tokens are real; None where all are.
        padding: the places of the others among the B N tokens; None on a device, which would have to be waited for.
    """

    parts: tuple[Part, ...]
    whole: bool
    once: bool
    all_keys: bool
    real: Tensor | None = None
    padding: Tensor | None = None

    @property
    def one(self) -> Part | None:
        """The part that is all of it."""
        return self.parts[0] if self.whole and len(self.parts) == 1 else None

    def clear(self, tensor: Tensor) -> Tensor:
        """The tensor `[B, H, N, D]` with zeros where it is padding."""
        if self.real is None:
            return tensor
        if self.padding is None:
            return zero_padding(tensor, self.real)
        whole = tensor.transpose(1, 2).clone(memory_format=torch.contiguous_format)  # a third of the time of `where`
        whole.view(self.real.numel(), -1).index_fill_(0, self.padding, 0)
        return whole.transpose(1, 2)

    def blank(self, tensor: Tensor) -> Tensor:
        """The tensor, cleared unless the parts fill it."""
        return tensor if self.whole else tensor.zero_()


def divided(q: Tensor, layout: list[int], masks: tuple[int, ...], lengths: Tensor | None, own: int) -> Division:
    """The division for queries, keys and values such as q."""
    sizes, device = tuple(layout), q.device
    if unpadded(layout, lengths):
        if device.type == "cpu" and _mask_pays(sizes, masks, own, q.shape[0] * q.shape[3]):
            return _masked(sizes, masks, own, q.dtype)
        return _by_calls(sizes, masks, own)
    assert lengths is not None
    if lengths.device.type == device.type == "cpu":  # a CUDA graph would read what is kept here when it is no more
        return _by_known_lengths(sizes, masks, own, q.dtype, lengths.to(torch.int64).numpy().tobytes())
    return _by_lengths(sizes, masks, own, q.dtype, lengths.to(device))


@lru_cache(maxsize=1024)
def _by_calls(layout: tuple[int, ...], masks: tuple[int, ...], own: int) -> Division:
    """A part for each call of the plan; where no sample is padded they depend on no tensor."""
    calls = plan_calls(layout, masks, own)
    return _division([_part(call, layout) for call in calls], calls, layout, len(masks) // len(layout))


@lru_cache(maxsize=1024)
def _mask_pays(layout: tuple[int, ...], masks: tuple[int, ...], own: int, numbers: int) -> bool:
    """Whether one call of all heads, whose mask says who sees what, takes less time than the calls of the plan.

    Args:
        numbers: of all samples' queries at one place of one head.
    """
    calls = plan_calls(layout, masks, own)
    if len(calls) < 2:
        return False

    def sizes(call: Call) -> tuple[int, int]:
        rows, keys = sum(layout[i] for i in call.queries), sum(layout[j] for j in call.keys)
        return numbers * (call.heads[1] - call.heads[0]) * rows, keys

    needed, all_keys = sizes(_whole(calls, len(masks) // len(layout)))
    more = 4 * (needed * all_keys - sum(rows * keys for rows, keys in map(sizes, calls)))
    return more < CALL_FLOPS * (len(calls) - 1) + COPY_FLOPS * needed


def _whole(calls: Sequence[Call], heads: int) -> Call:
    """All heads, and all segments that are queries or keys of any."""
    queries, keys = {i for call in calls for i in call.queries}, {j for call in calls for j in call.keys}
    return Call((0, heads), tuple(sorted(queries)), tuple(sorted(keys)))


@lru_cache(maxsize=64)
def _masked(layout: tuple[int, ...], masks: tuple[int, ...], own: int, dtype: torch.dtype) -> Division:
    """One part with a mask."""
    calls, heads = plan_calls(layout, masks, own), len(masks) // len(layout)
    whole = _whole(calls, heads)
    rows, keys = (_ranges_within(some, layout) for some in (whole.queries, whole.keys))
    sees = torch.zeros(1, heads, sum(map(_size, rows.values())), sum(map(_size, keys.values())), dtype=torch.bool)
    for call in calls:
        for i in call.queries:
            for j in call.keys:
                sees[:, slice(*call.heads), rows[i], keys[j]] = True
    return _division([_with_mask(_part(whole, layout), sees, dtype)], [whole], layout, heads)


def _ranges_within(segments: Sequence[int], layout: Sequence[int]) -> dict[int, slice]:
    """Where each of some segments lies among these alone."""
    start = offsets([layout[i] for i in segments])
    return {i: slice(*ends) for i, ends in zip(segments, pairwise(start), strict=True)}


@lru_cache(maxsize=KEPT)
def _by_known_lengths(
    layout: tuple[int, ...],
    masks: tuple[int, ...],
    own: int,
    dtype: torch.dtype,
    lengths: bytes,
) -> Division:
    known = torch.frombuffer(bytearray(lengths), dtype=torch.int64).view(-1, len(layout))
    found = _by_lengths(layout, masks, own, dtype, known)
    assert found.real is not None
    return replace(found, padding=(~found.real).flatten().nonzero()[:, 0])


def _by_lengths(
    layout: tuple[int, ...], masks: tuple[int, ...], own: int, dtype: torch.dtype, lengths_BM: Tensor
) -> Division:
    """A part for each call of the plan, masked where samples are padded or lack a modality."""
    real_BN, parts, seen = real_tokens(lengths_BM, list(layout)), [], []
    for call in plan_calls(layout, masks, own):
        keys, visible_BK = visible_keys(call, lengths_BM, real_BN, list(layout), own)
        seen.append(Call(call.heads, call.queries, tuple(keys)))
        part = _part(seen[-1], layout)
        rows = sum(map(_size, part.rows))
        part = _with_mask(part, visible_BK[:, None, None, :], dtype)
        assert part.bias is not None
        padding = ~_taken(real_BN[:, None, :, None], slice(None), part.rows)
        idle = padding if part.idle is None else part.idle | padding
        parts.append(replace(part, bias=part.bias.expand(-1, 1, rows, -1), idle=idle))
    return _division(parts, seen, layout, len(masks) // len(layout), real_BN)


def _part(call: Call, layout: Sequence[int]) -> Part:
    return Part(slice(*call.heads), _ranges(call.queries, layout), _ranges(call.keys, layout))


def _ranges(segments: Sequence[int], layout: Sequence[int]) -> Ranges:
    """Where segments lie, those that follow each other together."""
    start = offsets(layout)
    found: list[slice] = []
    for i in segments:
        if found and found[-1].stop == start[i]:
            found[-1] = slice(found[-1].start, start[i + 1])
        else:
            found.append(slice(start[i], start[i + 1]))
    return tuple(found)


def _with_mask(part: Part, sees: Tensor, dtype: torch.dtype) -> Part:
    """The part where queries see some keys only. Where one sees none, all weigh alike in place of 0 / 0; it is idle."""
    none = ~sees.any(dim=3, keepdim=True)
    bias = torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~(sees | none), float("-inf"))
    known = none.device.type == "cpu"  # else looking would mean to wait
    return replace(part, bias=bias, idle=None if known and not bool(none.any()) else none)


def _division(
    parts: Sequence[Part], calls: Sequence[Call], layout: Sequence[int], heads: int, real: Tensor | None = None
) -> Division:
    def cells(name: str) -> list[tuple[int, int]]:
        return [(head, i) for call in calls for head in range(*call.heads) for i in getattr(call, name)]

    area = heads * sum(map(bool, layout))
    queries, keys = cells("queries"), cells("keys")
    once = len(set(keys)) == len(keys)
    return Division(tuple(parts), len(queries) == area, once, len(set(keys)) == area, real)
