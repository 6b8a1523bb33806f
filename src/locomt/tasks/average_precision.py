"""How well samples are ranked, of one class and over classes. The numbers are torchmetrics'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def kept(logits: Tensor) -> Tensor:
    """Logits to keep as they are; those of 16 bits in 32."""
    return logits.detach().to(torch.promote_types(logits.dtype, torch.float32))


def average_precision(logits: Float[Tensor, " samples"], targets: Int[Tensor, " samples"]) -> dict[str, Any]:
    """Of one class: None where there is no positive, or a logit that is no number; and how many positives there are."""
    from torchmetrics.functional.classification import binary_average_precision

    positives = int(targets.sum())
    defined = positives and not logits.isnan().any()
    precision = binary_average_precision(places(logits), targets).item() if defined else None
    return {"average_precision": precision, "positives": positives}


def places(logits: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """The places of logits in their order, equal ones sharing theirs, as numbers in [0, 1).

    torchmetrics takes a sigmoid of what lies outside of [0, 1], and in its rounding large logits become equal.
    """
    found: Tensor = logits.unique(return_inverse=True)[1]
    return found.double() / len(logits)


def mean(values: Sequence[float | None]) -> float | None:
    """Over those that are defined."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def mean_of(per_class: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The mean average precision."""
    return mean([entry["average_precision"] for entry in per_class.values()])


def scored(per_class: Mapping[str, Mapping[str, Any]]) -> int:
    """How many classes have an average precision."""
    return sum(entry["average_precision"] is not None for entry in per_class.values())
