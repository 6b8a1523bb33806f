"""A recipe beside what its checkpoints were trained on: differences named, another rate refused, `auto` filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from locomt.data.config import AudioSource
from locomt.data.kinds import KINDS
from locomt.data.kinds.source import Source
from locomt.nn.checkpoint import CONFIG, PROCESSOR, checkpoint_folder, read_json
from locomt.nn.own_towers import is_own
from locomt.nn.preprocessing import Pictures, Sound, read_preprocessing
from locomt.train.config import RecipeError
from locomt.train.recipe import Recipe

RECIPE = "config.yaml"
"""A run's own recipe, in its directory."""
CLOSE = 1e-3
"""How far apart means and standard deviations may be, over the latter, and be called the same: -4.27 and -4.2677."""


def fill_auto(values: Mapping[str, Any], name: str, source: str | None) -> dict[str, Any]:
    """The fields of a modality with what its checkpoint says in place of every `auto`.

    Args:
        values: the fields.
        name: the modality's.
        source: its checkpoint in `train.pretrained`.

    Raises:
        RecipeError: there is none, or it does not say.
        ConfigError: it cannot be read, or its `preprocessor_config.json` is damaged.
    """
    fields = [field for field, value in values.items() if value == "auto" and field != "column"]
    where = f"data.modalities.{name}.{fields[0]}: auto stands for what the checkpoint was trained on"
    if source is None:
        raise RecipeError(f"{where}, but train.pretrained names none for {name!r}")
    if (trained := trained_source(source, name)) is not None:
        settings = asdict(trained)
        if odd := [field for field in fields if field not in settings]:
            raise RecipeError(f"data.modalities.{name}.{odd[0]}: {source} knows no such field of {name!r}")
        return {field: settings[field] if field in fields else value for field, value in values.items()}
    kind, found = values.get("kind"), read_preprocessing(source)
    holds = KINDS[kind].holds if isinstance(kind, str) and kind in KINDS else ""
    taken: dict[str, Any] = {}
    if holds == "spectrogram" and isinstance(found, Sound):
        hop = 10.0 if (given := values.get("hop_ms", AudioSource.hop_ms)) == "auto" else given
        seconds = found.frames * hop / 1000 if isinstance(hop, int | float) else None
        taken = {"rate": found.rate, "mels": found.mels, "mean": found.mean, "std": found.std, "seconds": seconds}
        taken |= {"filterbank": "kaldi", "window_ms": 25.0, "hop_ms": 10.0}
    if holds == "pixels" and (found is None or isinstance(found, Pictures)):
        size = found.size if found is not None else None
        taken = {
            "size": _side(
                name, source, size or read_json(checkpoint_folder(source, weights=False) / CONFIG).get("image_size")
            )
        }
    for field in fields:
        if taken.get(field) is None:
            known = f"; it says {', '.join(taken)}" if taken else f"; it has no {PROCESSOR} for {kind!r:.20}"
            raise RecipeError(f"data.modalities.{name}.{field}: {source} does not say what auto stands for{known}")
    return {field: taken[field] if field in fields else value for field, value in values.items()}


def trained_source(source: str | Path, name: str) -> Source | None:
    """How a run reads a modality; None where it is no run.

    Raises:
        RecipeError: the run knows no such modality, or its recipe cannot be read.
    """
    path = Path(source) / RECIPE
    if not path.is_file():
        return None
    try:
        modalities = yaml.safe_load(path.read_text(encoding="utf-8"))["data"]["modalities"]
        found = {given: dict(entry) for given, entry in modalities.items()}
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, RecursionError):
        raise RecipeError(f"train.pretrained.{name}: {path} is no recipe of a run; name another run") from None
    if name not in found:
        raise RecipeError(f"train.pretrained.{name}: the run in {source} has {', '.join(map(str, found))}, no {name!r}")
    entry = found[name]
    kind = entry.pop("kind", None)
    try:
        return KINDS[kind](**entry)
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{path}: data.modalities.{name}: {error}") from None


def _side(name: str, source: str, size: Any) -> Any:
    height, width = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    if height != width:
        raise RecipeError(
            f"data.modalities.{name}.size: {source} was trained on pictures of {height} x {width}, and frames here are "
            "square; say a size in place of auto"
        )
    return height


def differences(recipe: Recipe) -> list[str]:
    """A line for each run or checkpoint of `train.pretrained` that was trained on other input than the recipe makes.

    The normalisation of pixels never differs: it becomes a part of the patch embedding.

    Raises:
        RecipeError: sound of another rate: its bands would lie elsewhere; or a checkpoint for what can have none.
        ConfigError: a checkpoint cannot be read, or its `preprocessor_config.json` is damaged.
    """
    lines = []
    for name, source in recipe.train.pretrained.items():
        own, trained = recipe.data.modalities[name], trained_source(source, name)
        if trained is not None:
            odd = _of_run(own, trained)
        elif is_own(source):
            continue  # a model by itself does not say what it was trained on
        else:
            odd = _of_checkpoint(own, name, source)
        if rates := [values for field, *values in odd if field == "rate"]:
            raise RecipeError(
                f"train.pretrained.{name}: {source} was trained on sound of {rates[0][0]} samples a second, "
                f"data.modalities.{name}.rate is {rates[0][1]}; set it to {rates[0][0]}, or to auto"
            )
        if odd:
            pairs = ", ".join(f"{field} {theirs} (here {ours})" for field, theirs, ours in odd)
            lines.append(
                f"train.pretrained.{name}: {source} was trained with {pairs}; set those of data.modalities.{name} to "
                "auto to take them over, or leave them where that is meant"
            )
    return lines


def _of_run(own: Source, trained: Source) -> list[tuple[str, Any, Any]]:
    """Field, the run's value, the recipe's, for those that differ; where they are found in the manifest is left out."""
    if type(own) is not type(trained):
        return []  # which the weights will not fit
    ours, theirs = asdict(own), asdict(trained)
    free = {name for name in ours if name == "column" or name.startswith("on_")}
    return [(name, theirs[name], ours[name]) for name in ours if name not in free and theirs[name] != ours[name]]


def _of_checkpoint(own: Source, name: str, source: str) -> list[tuple[str, Any, Any]]:
    """The same of a public checkpoint."""
    if own.holds not in ("pixels", "spectrogram"):
        raise RecipeError(
            f"train.pretrained: {name!r} is {own.kind}: expected a finished run, got {source}; checkpoints are for "
            f"pictures and sound, and a text takes what data.modalities.{name}.encoder names"
        )
    if getattr(own, "standardise", False):
        raise RecipeError(
            f"data.modalities.{name}.standardise: its checkpoint in train.pretrained was trained with a mean and "
            "std of its own; leave it out"
        )
    found = read_preprocessing(source)
    if isinstance(own, AudioSource) and isinstance(found, Sound):
        return ([("rate", found.rate, own.rate)] if own.rate != found.rate else []) + _of_sound(own, found)
    if own.holds == "pixels" and isinstance(found, Pictures) and found.size is not None:
        height, width = found.size
        size = getattr(own, "size")  # noqa: B009 - of every kind that holds pixels
        if (height, width) != (size, size):
            return [("size", height if height == width else f"{height} x {width}", size)]
    return []


def _of_sound(own: AudioSource, found: Sound) -> list[tuple[str, Any, Any]]:
    """Field, the checkpoint's value, the recipe's, for those that differ."""
    odd: list[tuple[str, Any, Any]] = []
    if own.mels != found.mels:
        odd.append(("mels (num_mel_bins)", found.mels, own.mels))
    if own.max_steps != found.frames:
        odd.append(("seconds (max_length, in frames)", found.frames, own.max_steps))
    if abs(own.mean - found.mean) > CLOSE * found.std:
        odd.append(("mean", f"{found.mean:.8g}", f"{own.mean:.8g}"))
    if not math.isclose(own.std, found.std, rel_tol=CLOSE):
        odd.append(("std (twice that of its file)", f"{found.std:.8g}", f"{own.std:.8g}"))
    for field, theirs in (("filterbank", "kaldi"), ("window_ms", 25.0), ("hop_ms", 10.0)):
        if (ours := getattr(own, field)) != theirs:
            odd.append((field, theirs, ours))
    return odd
