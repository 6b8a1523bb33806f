"""Spaces of view tables for models that are never built."""

from typing import Any

from locomt import FusionConfig
from locomt.nn import FeatureSpec
from locomt.search.space import Space


def make_space(lengths: dict[str, int], *, one_way: bool = False, **model: Any) -> Space:
    """A space of tables for modalities of so many tokens, [CLS] counted."""
    specs = {name: FeatureSpec(dim=2, max_length=length - 1) for name, length in lengths.items()}
    settings = {"dim": 8, "heads": 2, "depth": 3, "fusion_layers": 2} | model
    return Space(FusionConfig(num_outputs=2, modalities=specs, **settings), one_way)
