"""What a checkpoint was trained on, by its `preprocessor_config.json`: how pictures or sounds became numbers.

The file is anybody's: what is computed with is looked at first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locomt.nn.checkpoint import AST, CONFIG, PROCESSOR, VIT, checkpoint_folder, read_json
from locomt.nn.fields import LONG, TYPES, WIDE
from locomt.require import ConfigError

MOST_RATE = 2**24
"""Samples a second."""
LARGEST = 1e6
"""Of means and standard deviations, and one over it the least of the latter: beyond lies no data."""


@dataclass(frozen=True)
class Pictures:
    """From pixels p in [0, 255] a ViT takes (p * `scale` - `mean`) / `std`.

    Attributes:
        mean, std: one for each channel, or one for all.
        size: height and width; None where nothing is said.
    """

    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Sound:
    """An AST takes (b - `mean`) / `std` of Kaldi's filter bank b; the defaults are those of transformers.

    Attributes:
        rate: samples a second.
        mels: bands.
        frames: of a whole recording, 10 ms apart.
        mean, std: `std` is twice what the file says, by which transformers divides.
    """

    rate: int = 16000
    mels: int = 128
    frames: int = 1024
    mean: float = -4.2677393
    std: float = 2 * 4.5689974


def read_preprocessing(source: str | Path) -> Pictures | Sound | None:
    """What a ViT (pictures) or an AST (sound) was trained on; None where the checkpoint does not say.

    Raises:
        ConfigError: there is no such checkpoint, or a value in its `preprocessor_config.json` cannot be.
    """
    folder = checkpoint_folder(str(source), weights=False)
    kind = str(read_json(folder / CONFIG).get("model_type"))
    path = folder / PROCESSOR
    readers: dict[str, Callable[[Path, Mapping[str, Any]], Pictures | Sound]] = {VIT: pictures_of, AST: sound_of}
    return readers[kind](path, read_json(path)) if kind in readers and path.is_file() else None


def sound_of(path: Path, values: Mapping[str, Any]) -> Sound:
    """The fields of an AST's feature extractor, checked."""
    normal = _flag(path, values, "do_normalize")
    return Sound(
        rate=_whole(path, values, "sampling_rate", Sound.rate, MOST_RATE),
        mels=_whole(path, values, "num_mel_bins", Sound.mels, WIDE),
        frames=_whole(path, values, "max_length", Sound.frames, LONG),
        mean=_number(path, "mean", values.get("mean", Sound.mean)) if normal else 0.0,
        std=2 * _deviation(path, "std", values.get("std", Sound.std / 2)) if normal else 1.0,
    )


def pictures_of(path: Path, values: Mapping[str, Any], channels: int = 3) -> Pictures:
    """The fields of a ViT's image processor, checked."""
    scale = 1.0
    if _flag(path, values, "do_rescale"):
        scale = _deviation(path, "rescale_factor", values.get("rescale_factor", Pictures.scale))
    mean, std = Pictures.mean, Pictures.std
    if not _flag(path, values, "do_normalize"):
        mean, std = (0.0,), (1.0,)
    else:
        mean = tuple(_number(path, "image_mean", part) for part in _parts(path, values, "image_mean", mean, channels))
        std = tuple(_deviation(path, "image_std", part) for part in _parts(path, values, "image_std", std, channels))
    cropped = values.get("do_center_crop") is True and values.get("crop_size") is not None
    return Pictures(scale, mean, std, _size(path, "crop_size" if cropped else "size", values))


def _parts(path: Path, values: Mapping[str, Any], name: str, default: tuple[float, ...], channels: int) -> list[Any]:
    value = values.get(name)
    parts = list(default) if value is None else value if isinstance(value, list) else [value]
    if len(parts) not in (1, channels):
        raise ConfigError(f"{path}: {name}: expected a number, or {channels} of them, got {value!r:.60}")
    return parts


def _size(path: Path, name: str, values: Mapping[str, Any]) -> tuple[int, int] | None:
    """Of 224, [224, 224], {height: 224, width: 224} or {shortest_edge: 224}."""
    value = values.get(name)
    if value is None:
        return None
    sides = value
    if isinstance(value, Mapping):
        sides = [value.get("height"), value.get("width")] if "height" in value else value.get("shortest_edge")
    height, width = sides if isinstance(sides, list) and len(sides) == 2 else (sides, sides)
    for side in (height, width):
        if not (TYPES["int"](side) and 1 <= side <= WIDE):
            raise ConfigError(f"{path}: {name}: expected pixels, from 1 to {WIDE:,}, got {value!r:.60}")
    return height, width


def _flag(path: Path, values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name)
    if not isinstance(value, bool | None):
        raise ConfigError(f"{path}: {name}: expected true or false, got {value!r:.60}")
    return value is not False


def _whole(path: Path, values: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value: int = values.get(name, default)
    if not (TYPES["int"](value) and 1 <= value <= most):
        raise ConfigError(f"{path}: {name}: expected a whole number from 1 to {most:,}, got {value!r:.60}")
    return value


def _number(path: Path, name: str, value: Any) -> float:
    if not (TYPES["float"](value) and abs(value) <= LARGEST):
        raise ConfigError(f"{path}: {name}: expected a number within {LARGEST:,.0f}, got {value!r:.60}")
    return float(value)


def _deviation(path: Path, name: str, value: Any) -> float:
    if not (TYPES["float"](value) and 1 / LARGEST <= value <= LARGEST):
        raise ConfigError(f"{path}: {name}: expected a number above 0, at most {LARGEST:,.0f}, got {value!r:.60}")
    return float(value)
