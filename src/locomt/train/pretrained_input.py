"""A recipe beside what its checkpoints were trained on: differences named, another rate refused, `auto` filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from locomt.data.config import AudioSource
from locomt.data.kinds import KINDS
from locomt.nn.checkpoint import CONFIG, PROCESSOR, checkpoint_folder, read_json
from locomt.nn.preprocessing import Pictures, Sound, read_preprocessing
from locomt.train.config import RecipeError
from locomt.train.recipe import Recipe

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


def _side(name: str, source: str, size: Any) -> Any:
    height, width = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    if height != width:
        raise RecipeError(
            f"data.modalities.{name}.size: {source} was trained on pictures of {height} x {width}, and frames here are "
            "square; say a size in place of auto"
        )
    return height


def differences(recipe: Recipe) -> list[str]:
    """A line for each checkpoint of `train.pretrained` that was trained on other input than the recipe makes.

    The normalisation of pixels never differs: it becomes a part of the patch embedding.

    Raises:
        RecipeError: sound of another rate: its bands would lie elsewhere.
        ConfigError: a checkpoint cannot be read, or its `preprocessor_config.json` is damaged.
    """
    lines = []
    for name, source in recipe.train.pretrained.items():
        own, found = recipe.data.modalities[name], read_preprocessing(source)
        odd: list[tuple[str, Any, Any]] = []
        if own.holds == "spectrogram" and isinstance(found, Sound):
            if own.rate != found.rate:
                raise RecipeError(
                    f"train.pretrained.{name}: {source} was trained on sound of {found.rate} samples a second "
                    f"(sampling_rate), data.modalities.{name}.rate is {own.rate}; set it to {found.rate}, or to auto"
                )
            odd = _of_sound(own, found)
        elif own.holds == "pixels" and isinstance(found, Pictures) and found.size is not None:
            height, width = found.size
            if (height, width) != (own.size, own.size):
                odd = [("size", height if height == width else f"{height} x {width}", own.size)]
        if odd:
            pairs = ", ".join(f"{field} {theirs} (here {ours})" for field, theirs, ours in odd)
            lines.append(
                f"train.pretrained.{name}: {source} was trained with {pairs}; set those of data.modalities.{name} to "
                "auto to take them over, or leave them where that is meant"
            )
    return lines


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
