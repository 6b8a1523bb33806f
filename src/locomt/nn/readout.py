"""What each modality gives the head to read, and the mean that the head takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


class ReadOut(NamedTuple):
    """One modality's part of what the head reads.

    Attributes:
        values: of each sample and step; one step where the head gives one answer a sample.
        real: where the sample has it; None where all do.
    """

    values: Float[Tensor, "batch steps dim"]
    real: Bool[Tensor, "batch steps"] | None


def pooled(reads: Mapping[str, ReadOut], shares: Mapping[str, float]) -> Float[Tensor, "batch steps dim"]:
    """The mean over the modalities that are there, weighted by their shares; 0 where none is.

    Args:
        reads: of every modality of the batch.
        shares: how much each counts, above 0; without any, all count alike.
    """
    values = torch.stack([read.values for read in reads.values()])
    if not shares and all(read.real is None for read in reads.values()):
        return values.mean(dim=0)
    weights = torch.stack([weight(read, shares.get(name, 1.0)) for name, read in reads.items()])
    total = weights.sum(dim=0)
    return (values * weights).sum(dim=0) / torch.where(total > 0, total, torch.ones_like(total))


def weight(read: ReadOut, share: float) -> Float[Tensor, "batch steps 1"]:
    """The share where the modality is there, else 0; on the device of the values."""
    like = read.values[..., :1]
    if read.real is None:
        return torch.full_like(like, share)
    return share * read.real.to(like.device, like.dtype)[..., None].expand_as(like)
