"""Towers from models of our own, one modality at a time: the fusion, views and number of modalities may be others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from locomt.nn.checkpoint import CONFIG, read_json
from locomt.nn.config import FusionConfig, unimodal_layers
from locomt.nn.weight_names import PARTS, layer_places, owner
from locomt.require import ConfigError

if TYPE_CHECKING:
    from locomt.nn.model import FusionModel


def is_own(source: str | Path) -> bool:
    """Whether it is the folder of a model that `save_pretrained` wrote."""
    path = Path(source) / CONFIG
    return path.is_file() and "modalities" in read_json(path)


def own_entries(model: FusionModel, sources: Mapping[str, str | Path]) -> dict[str, Tensor]:
    """What modalities take from models that have them: embedding, standards, layers and last norm, by name.

    Args:
        model: what they are for.
        sources: modality -> folder of a model, see `is_own`.

    Raises:
        ConfigError: a model cannot be read, lacks the modality, or is of another size.
    """
    read = {source: type(model).from_pretrained(source) for source in {str(source) for source in sources.values()}}
    entries: dict[str, Tensor] = {}
    for name, source in sources.items():
        trained: FusionModel = read[str(source)]
        _check_sizes(trained.config, model.config, name, str(source))
        entries |= _renamed(trained, model.config, name)
    wanted = model.state_dict()
    for key, tensor in entries.items():
        if key not in wanted or (tensor.shape != wanted[key].shape and not key.endswith(".positions")):
            came = list(wanted[key].shape) if key in wanted else "no such weight"
            raise ConfigError(f"pretrained: expected {key} of shape {list(tensor.shape)}, as trained, got {came}")
    return entries


def _check_sizes(had: FusionConfig, now: FusionConfig, name: str, source: str) -> None:
    if name not in had.modalities:
        raise ConfigError(f"pretrained: {source} knows {', '.join(had.modalities)}, not {name!r}")
    if now.shared_weights and not had.shared_weights and len(now.modalities) > 1:
        raise ConfigError(
            f"pretrained: with model.shared_weights all modalities have the same fusion layers, those of {source} are "
            f"of {name!r} alone; train it with model.shared_weights, or this model without"
        )
    theirs, ours = had.modalities[name], now.modalities[name]
    needed, here = _sizes(had, name), _sizes(now, name)
    for field, size in needed.items():
        if size != here[field]:
            raise ConfigError(f"pretrained: {source} needs {field} {size:g}, here it is {here[field]:g}")
    if theirs.kind != ours.kind:
        raise ConfigError(f"pretrained: {name!r} is {ours.kind}, in {source} it is {theirs.kind}")
    if (wide := theirs.inputs_per_token) != ours.inputs_per_token or theirs.class_tokens != ours.class_tokens:
        raise ConfigError(
            f"pretrained: {name!r} of {source} has {wide} numbers a token and {theirs.class_tokens} class tokens, "
            f"here {ours.inputs_per_token} and {ours.class_tokens}; give it the same fields in data.modalities"
        )
    if bool(theirs.standardised) != bool(ours.standardised):
        told = "true" if theirs.standardised else "false"
        raise ConfigError(f"pretrained: {source} needs data.modalities.{name}.standardise {told}")


def _sizes(config: FusionConfig, name: str) -> dict[str, float]:
    """What the weights of a modality's layers depend on."""
    return {
        "model.dim": config.width,
        "model.heads": config.num_heads,
        "model.depth": unimodal_layers(config, name) + config.fusion_layers,
        "model.mlp_ratio": config.mlp_ratio,
        "model.norm_eps": config.norm_eps,
    }


def _renamed(trained: FusionModel, config: FusionConfig, name: str) -> dict[str, Tensor]:
    """A modality's weights by the names that a model of another configuration has for them."""
    state = trained.state_dict()
    entries = {key: tensor for key, tensor in state.items() if key.startswith(f"embeddings.{name}.")}
    old, new = layer_places(trained.config, name), layer_places(config, name)
    for (from_block, from_key), (to_block, to_key) in zip(old, new, strict=True):
        for part in PARTS:
            for kind in ("weight", "bias"):
                key = f"{to_block}.{part.format(to_key)}.{kind}"
                entries[key] = state[f"{from_block}.{part.format(from_key)}.{kind}"]
    for kind in ("weight", "bias"):
        entries[f"norm.{owner(config, name)}.{kind}"] = state[f"norm.{owner(trained.config, name)}.{kind}"]
    return entries
