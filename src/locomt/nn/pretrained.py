"""Towers from Hugging Face checkpoints of ViT and AST or models of our own, laid into a `FusionModel` of any fusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from locomt.nn.checkpoint import Checkpoint, read_checkpoint
from locomt.nn.config import INFLATIONS, ConfigError, FusionConfig
from locomt.nn.encoder import EncodedText, fill_encoder
from locomt.nn.modalities import MODALITIES, ModalitySpec
from locomt.nn.own_towers import is_own, own_entries
from locomt.nn.patches import Patches
from locomt.nn.weight_names import layer_places, owner

if TYPE_CHECKING:
    from locomt.nn.model import FusionModel


TRANSFORMERS = {
    "norm1.{}": "layernorm_before",
    "attention.out.{}": "attention.output.dense",
    "norm2.{}": "layernorm_after",
    "mlp.{}.0": "intermediate.dense",
    "mlp.{}.2": "output.dense",
}
"""What transformers calls the parts of a layer, but for queries, keys and values, which it keeps apart."""


def fill_towers(model: FusionModel, sources: Mapping[str, str | Path], inflation: str = "central") -> None:
    """Give modalities of a model the weights of pretrained towers.

    The checkpoint's lower layers become the unimodal tower, its upper ones the modality's own weights in the fusion
    layers, whatever the fusion is, its last norm the modality's norm. The bottleneck tokens and the head stay as they
    are. Which checkpoints a kind of modality takes is said by its `checkpoints`. A text with an encoder takes that from
    any transformers model. A model that `save_pretrained` wrote gives any kind of modality that it has.

    Args:
        model: the model, in place.
        sources: modality -> checkpoint, see `read_checkpoint`, or the folder of a model of our own.
        inflation: how a patch of a picture becomes a tubelet of several frames: `central` (the frame in the middle
            sees what the picture did, the others nothing) or `average` (each sees its share).

    Raises:
        ConfigError: a checkpoint cannot be read or does not fit the model: says which field of the model would.
    """
    if inflation not in INFLATIONS:
        raise ConfigError(f"inflation: expected {' or '.join(INFLATIONS)}, got {inflation!r}")
    config = model.config
    for name in sources:
        if name not in config.modalities:
            raise ConfigError(f"pretrained: {name!r} is not one of {', '.join(config.modalities)}")
    own = {name: source for name, source in sources.items() if is_own(source)}
    others = {name: source for name, source in sources.items() if name not in own}
    projections = {name: model.embeddings[name].project for name in others}
    encoders = {name: module for name, module in projections.items() if isinstance(module, EncodedText)}
    towers = {name: source for name, source in others.items() if name not in encoders}
    read = {source: read_checkpoint(source) for source in {str(source) for source in towers.values()}}
    if config.shared_weights and len(set(map(str, own.values())) | set(read)) > 1:
        told = ", ".join(f"{name}: {source}" for name, source in (own | towers).items())
        raise ConfigError(
            "pretrained: with model.shared_weights all modalities have the same fusion layers, so all must name "
            f"the same checkpoint, got {told}"
        )
    entries = own_entries(model, own)
    for name, source in towers.items():
        checkpoint = read[str(source)]
        _check_sizes(checkpoint, config, name)
        entries |= dict(_embedding(checkpoint, name, config.modalities[name], config.width, inflation))
        entries |= dict(_layers(checkpoint, name, config))
    for name, module in encoders.items():
        fill_encoder(module, sources[name])
    missing, unexpected = model.load_state_dict(entries, strict=False)
    assert not unexpected, unexpected
    assert not set(entries) & set(missing)


def _check_sizes(checkpoint: Checkpoint, config: FusionConfig, name: str) -> None:
    source, found, spec = checkpoint.source, checkpoint.config, config.modalities[name]
    if checkpoint.kind not in spec.checkpoints:
        takers = [kind for kind, other in MODALITIES.items() if checkpoint.kind in other.checkpoints]
        raise ConfigError(
            f"pretrained: {name!r} is {spec.kind}; {source} has model_type {checkpoint.kind}, which is for "
            f"{', '.join(takers)}; a text takes the model that its encoder names"
        )
    sizes = {
        "model.dim": (found["hidden_size"], config.width),
        "model.heads": (found["num_attention_heads"], config.num_heads),
        "model.depth": (found["num_hidden_layers"], config.num_layers),
        "model.mlp_ratio": (found["intermediate_size"] / found["hidden_size"], config.mlp_ratio),
        "model.norm_eps": (found["layer_norm_eps"], config.norm_eps),
    }
    for field, wanted in spec.fixed_by(checkpoint).items():
        sizes[f"modalities.{name}.{field}"] = (wanted, getattr(spec, field))
    for field, (wanted, here) in sizes.items():
        if wanted != here:
            raise ConfigError(f"pretrained: {source} needs {field} {wanted:g}, here it is {here:g}")
    if found["hidden_act"] != "gelu":
        raise ConfigError(f"pretrained: {source} has activation {found['hidden_act']!r}, only 'gelu' can be served")
    if spec.class_tokens > checkpoint.class_tokens:
        raise ConfigError(
            f"pretrained: {source} has {checkpoint.class_tokens} of the {spec.class_tokens} class tokens of {name!r}"
        )


def _embedding(
    checkpoint: Checkpoint, name: str, spec: ModalitySpec, dim: int, inflation: str
) -> Iterator[tuple[str, Tensor]]:
    """What a modality's embedding takes from a checkpoint."""
    kernel = checkpoint.tensor(
        "embeddings.patch_embeddings.projection.weight", dim, checkpoint.channels, *checkpoint.patch
    )
    bias = checkpoint.tensor("embeddings.patch_embeddings.projection.bias", dim)
    first, (height, width) = checkpoint.class_tokens, checkpoint.grid
    specials = ("embeddings.cls_token", "embeddings.distillation_token")[:first]
    positions = checkpoint.tensor("embeddings.position_embeddings", 1, first + height * width, dim)
    tokens = torch.cat([checkpoint.tensor(special, 1, 1, dim) for special in specials], dim=1) + positions[:, :first]
    table = positions[0, first:].unflatten(0, (height, width))
    patches = spec.lay(checkpoint, Patches(kernel, bias, table), inflation)
    prefix = f"embeddings.{name}."
    yield prefix + "project.project.weight", patches.kernel.flatten(1)
    yield prefix + "project.project.bias", patches.bias
    yield prefix + "cls", tokens[:, : spec.class_tokens]
    yield prefix + "positions", patches.positions.flatten(0, -2)
    yield prefix + "grid", torch.tensor(spec.grid)


def _layers(checkpoint: Checkpoint, name: str, config: FusionConfig) -> Iterator[tuple[str, Tensor]]:
    """What a modality's tower, its part of the fusion layers and its norm take from a checkpoint."""
    dim, hidden = config.width, int(config.width * config.mlp_ratio)
    shapes = {"norm1.{}": (dim,), "norm2.{}": (dim,), "attention.out.{}": (dim, dim)}
    shapes |= {"mlp.{}.0": (hidden, dim), "mlp.{}.2": (dim, hidden)}
    for layer, (block, key) in enumerate(layer_places(config, name)):
        old = f"encoder.layer.{layer}."
        qkv = [f"{old}attention.attention.{part}" for part in ("query", "key", "value")]
        weights = [checkpoint.tensor(part + ".weight", dim, dim) for part in qkv]
        biased = checkpoint.config["qkv_bias"]
        biases = [checkpoint.tensor(part + ".bias", dim) if biased else torch.zeros(dim) for part in qkv]
        yield f"{block}.attention.qkv.{key}.weight", torch.cat(weights)
        yield f"{block}.attention.qkv.{key}.bias", torch.cat(biases)
        for part, shape in shapes.items():
            theirs, ours = old + TRANSFORMERS[part], f"{block}.{part.format(key)}"
            yield f"{ours}.weight", checkpoint.tensor(f"{theirs}.weight", *shape)
            yield f"{ours}.bias", checkpoint.tensor(f"{theirs}.bias", shape[0])
    for kind in ("weight", "bias"):
        yield f"norm.{owner(config, name)}.{kind}", checkpoint.tensor(f"layernorm.{kind}", dim)
