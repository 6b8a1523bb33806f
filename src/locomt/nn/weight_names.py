"""Where the weights of one modality lie in a model's state dict, whatever its fusion."""

from __future__ import annotations

from collections.abc import Iterator

from locomt.nn.config import FusionConfig, unimodal_layers

PARTS = ("norm1.{}", "attention.qkv.{}", "attention.out.{}", "norm2.{}", "mlp.{}.0", "mlp.{}.2")
"""Of a layer, each with `weight` and `bias`; the name of whose they are takes the place of the braces."""


def owner(config: FusionConfig, name: str) -> str:
    """What a modality's own weights in the fusion layers, and its norm, go by."""
    return "shared" if config.shared_weights else name


def layer_places(config: FusionConfig, name: str) -> Iterator[tuple[str, str]]:
    """A modality's layers from the lowest: what their names begin with, and whose parts they have."""
    for layer in range(unimodal_layers(config, name)):
        yield f"towers.{name}.{layer}", name
    for layer in range(config.fusion_layers):
        if config.fusion == "mbt":
            yield f"fusion.{layer}.blocks.{owner(config, name)}", "tokens"
        else:
            yield f"fusion.{layer}", owner(config, name)
