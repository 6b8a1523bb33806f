"""Checkpoints of ViT and AST as transformers saves them, read without it: safetensors and JSON, local or from the hub.

No code of a checkpoint is run and nothing pickled is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from locomt.require import ConfigError

VIT, AST = "vit", "audio-spectrogram-transformer"
"""`model_type` of the checkpoints that can be read."""
DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "qkv_bias": True,
    "patch_size": 16,
    "image_size": 224,
    "num_channels": 3,
    "num_mel_bins": 128,
    "max_length": 1024,
    "frequency_stride": 10,
    "time_stride": 10,
}
"""What transformers takes for a field that a `config.json` leaves out."""
CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
INDEX, PARTS = "model.safetensors.index.json", "model-*-of-*.safetensors"
"""What takes the place of `WEIGHTS` where they are in several files: which tensor is in which of them."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint; a kind is a class of these, in `KINDS` under its `model_type`.

    Attributes:
        prefix: what a model with a head on top puts in front of the names of its tensors.
        class_tokens: learned tokens in front of the patches.
        source: the folder or the id that it was asked for by, for error messages.
        config: its `config.json`, with the fields of `DEFAULTS` filled in.
        weights: its tensors, named as in the model without a head on top.
        processor: its `preprocessor_config.json`; empty where there is none.
    """

    prefix: ClassVar[str]
    class_tokens: ClassVar[int]
    source: str
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    processor: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.config["model_type"])

    @property
    def channels(self) -> int:
        """Of the input that is cut into patches."""
        raise NotImplementedError

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width."""
        return _pair(self.config["patch_size"])

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along height and width, which for a spectrogram are frequency and time."""
        raise NotImplementedError

    def _patches(self, size: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
        """How many patches fit into an input of this size."""
        patch = self.patch
        return (size[0] - patch[0]) // stride[0] + 1, (size[1] - patch[1]) // stride[1] + 1

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A tensor in float32.

        Raises:
            ConfigError: there is none of this name and shape.
        """
        found = self.weights.get(name)
        if found is None or found.shape != shape:
            came = "no such tensor" if found is None else list(found.shape)
            raise ConfigError(f"{self.source}: expected {name} of shape {list(shape)} among its weights, got {came}")
        return found.float()


class ViT(Checkpoint):
    """Trained on pictures."""

    prefix = "vit."
    class_tokens = 1

    @property
    def channels(self) -> int:
        return int(self.config["num_channels"])

    @property
    def grid(self) -> tuple[int, int]:
        return self._patches(_pair(self.config["image_size"]), self.patch)


class SpectrogramTransformer(Checkpoint):
    """An AST, trained on spectrograms."""

    prefix = "audio_spectrogram_transformer."
    class_tokens = 2

    @property
    def channels(self) -> int:
        return 1

    @property
    def grid(self) -> tuple[int, int]:
        config = self.config
        size = (config["num_mel_bins"], config["max_length"])
        return self._patches(size, (config["frequency_stride"], config["time_stride"]))


KINDS: dict[str, type[Checkpoint]] = {VIT: ViT, AST: SpectrogramTransformer}


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, list) else (value, value)
    return first, second


def read_checkpoint(source: str | Path) -> Checkpoint:
    """Read a ViT or AST checkpoint as transformers saves them.

    Args:
        source: a folder with `config.json` and `model.safetensors` (or its parts and their index), or an id on the
            Hugging Face hub, which is downloaded once; `id@revision` names a branch, tag or commit.

    Raises:
        ConfigError: there is no such checkpoint, it is not whole or of another kind, or it has pickled weights only.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = checkpoint_folder(str(source))
    config = read_json(folder / CONFIG)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{source}: expected a checkpoint with model_type {' or '.join(KINDS)}, got {kind!r:.60}")
    config = DEFAULTS | config
    for name, default in DEFAULTS.items():
        _check_type(source, name, config[name], default)
    weights: dict[str, Tensor] = {}
    for file in weight_files(str(source), folder):
        try:
            weights |= load_file(file)
        except SafetensorError as error:
            raise ConfigError(
                f"{file}: not a whole safetensors file ({error}); download it again, or convert it"
            ) from None
    weights = {name.removeprefix(KINDS[kind].prefix): tensor for name, tensor in weights.items()}
    processor = read_json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    return KINDS[kind](str(source), config, weights, processor)


def _check_type(source: str | Path, name: str, value: Any, default: Any) -> None:
    """A `config.json` is anybody's: what is computed with must be what it is taken for."""
    parts = value if name in ("image_size", "patch_size") and isinstance(value, list) else [value, value]
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    for part in parts:
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if not isinstance(part, kinds) or (number and (isinstance(part, bool) or part <= 0)) or len(parts) != 2:
            raise ConfigError(f"{source}: {CONFIG}: expected {name} such as {default!r}, got {value!r:.60}")


def checkpoint_folder(source: str, *, weights: bool = True) -> Path:
    """Where the files of a checkpoint lie, downloaded first where it is named by its id; see `read_checkpoint`.

    Raises:
        ConfigError: there is no such folder, and none to be had from the hub.
    """
    if Path(source).is_dir():
        return Path(source)
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ConfigError(f"{source}: expected a folder with {CONFIG} and {WEIGHTS}; there is no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = source.partition("@")
    files = [CONFIG, WEIGHTS, INDEX, PARTS, PROCESSOR] if weights else [CONFIG, PROCESSOR]
    try:
        found = snapshot_download(name, revision=revision or None, allow_patterns=files)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{source}: neither a folder nor to be had from the Hugging Face hub ({reason}); `hf download {name}` "
            "fetches it where there is a network, and the folder that it prints can be named here"
        ) from None
    return Path(found)


def weight_files(source: str, folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or those that its index names.

    Raises:
        ConfigError: it has none, not all of them, or pickled weights in their place.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        places = read_json(folder / INDEX).get("weight_map")
        names = list(places.values()) if isinstance(places, dict) else []
        for name in names:
            if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                raise ConfigError(f"{folder / INDEX}: expected names of safetensors files beside it, got {name!r:.60}")
            if not (folder / name).is_file():
                raise ConfigError(f"{source}: {INDEX} names {name}, which is not there; download it again")
        if not names:
            raise ConfigError(f"{folder / INDEX}: expected a weight_map that says which tensor is in which file")
        return [folder / name for name in sorted(set(names))]
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
    if pickled:
        raise ConfigError(
            f"{source}: expected {WEIGHTS}, got {pickled[0]}, which is pickled: reading it may run code, so it is "
            f"refused. Load the model where you trust it and save it with save_pretrained, which writes {WEIGHTS}"
        )
    raise ConfigError(f"{source}: expected {WEIGHTS} (or {INDEX} and its files) beside {CONFIG}, found none")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ConfigError: there is no such file, or something else in it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path.parent}: expected a checkpoint, found no {path.name}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, numbers of thousands of digits, endless lists
        raise ConfigError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {values!r:.60}")
    return values
