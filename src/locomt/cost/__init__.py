"""What a model costs: closed-form FLOPs, parameters and memory, counted FLOPs, measured time."""

from locomt.cost.closed_form import (
    CONVENTION,
    CostError,
    Flops,
    activation_bytes,
    computed_pairs,
    flops,
    fusion_bytes,
    fusion_pairs,
    head_pairs,
    parameters,
    token_counts,
    variants,
)
from locomt.cost.guarantee import Guarantee, Pairs, guarantee, largest_bottleneck

__all__ = [
    "CONVENTION",
    "CostError",
    "Flops",
    "Guarantee",
    "Pairs",
    "activation_bytes",
    "computed_pairs",
    "flops",
    "fusion_bytes",
    "fusion_pairs",
    "guarantee",
    "head_pairs",
    "largest_bottleneck",
    "parameters",
    "token_counts",
    "variants",
]
