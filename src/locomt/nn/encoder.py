"""Text through a pretrained encoder: any `AutoModel` of transformers whose last hidden state has a vector a token.

Needs the extra `text`. No code of a checkpoint is run and nothing pickled is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from locomt.faults import tell_of_machine
from locomt.nn.checkpoint import CONFIG, checkpoint_folder, read_json, weight_files
from locomt.nn.fields import LARGEST, MOST_PARAMETERS
from locomt.require import ConfigError
from locomt.views import MOST_LAYERS

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FOREIGN = ("auto_map", "attn_implementation", "quantization_config", "architectures", "transformers_version", "dtype")
"""Fields of a `config.json` that do not say what the model is, some of which ask for other code to be loaded."""


BROKEN = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
)
"""What models of transformers raise for a configuration that no model was ever made of."""


class EncodedText(nn.Module):
    """`[B, T]` token ids to the encoder's last hidden states, projected where they are not `dim` wide."""

    def __init__(self, values: Mapping[str, Any], dim: int) -> None:
        super().__init__()
        self.encoder, width = build_encoder(values)
        self.project = nn.Identity() if width == dim else nn.Linear(width, dim)

    def forward(
        self, ids: Int[Tensor, "batch time"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """`lengths`: the real ids of each sample, which alone are attended to."""
        if ids.ndim != 2 or ids.is_floating_point():
            raise ValueError(f"expected integer token ids [batch, time], got {ids.dtype} {list(ids.shape)}")
        mask = None
        if lengths is not None:
            # A sample that lacks the text keeps one id, lest its softmax be empty; nothing ever looks at the result.
            mask = torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device).clamp(min=1)[:, None]
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return self.project(states)  # type: ignore[no-any-return]


def encoder_config(source: str) -> dict[str, Any]:
    """What `TextSpec.encoder` holds: the `config.json` of a checkpoint, without what does not say what the model is.

    Args:
        source: a folder, or an id on the Hugging Face hub.

    Raises:
        ConfigError: there is no such checkpoint, or it says no `model_type`.
    """
    folder = checkpoint_folder(source, weights=False)
    values = read_json(folder / CONFIG)
    if not isinstance(values.get("model_type"), str):
        raise ConfigError(f"{source}: expected the {CONFIG} of a transformers model, got no model_type")
    described = _describing(values)
    _check_held(source, folder, described)
    return described


def _check_held(source: str, folder: Path, described: Mapping[str, Any]) -> None:
    """Refuse a configuration that asks for more numbers than the weights beside it hold, before they are allocated."""
    from safetensors import SafetensorError, safe_open

    held = 0
    for path in filter(Path.is_file, folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                held += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
        except SafetensorError:  # said when the weights are read
            return
    if not held:
        return
    try:
        count = _counted(json.dumps(described, sort_keys=True))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    if count > held:
        raise ConfigError(
            f"{source}: its {CONFIG} describes {count:,} parameters ({4 * count / 2**30:,.1f} GiB), while its weights "
            f"are {held:,} numbers; download it again"
        )


@lru_cache(maxsize=16)
def _counted(described: str) -> int:
    return encoder_parameters(json.loads(described))


def _describing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in FOREIGN and not name.startswith("_")}


def _fetching_nothing(values: Any) -> Any:
    """The values without those at which transformers would get another model from the hub, at any depth."""
    if isinstance(values, Mapping):
        kept = {name: value for name, value in values.items() if "backbone" not in name and name != "_name_or_path"}
        return {name: _fetching_nothing(value) for name, value in kept.items()}
    return [_fetching_nothing(value) for value in values] if isinstance(values, list) else values


def build_encoder(values: Mapping[str, Any]) -> tuple[Any, int]:
    """A model with random weights and the width of its hidden states.

    Raises:
        ConfigError: transformers is not installed or cannot make such a model.
    """
    count = encoder_parameters(values)
    if count > MOST_PARAMETERS:
        raise ConfigError(f"{_named(values)}: {count:,} parameters, {4 * count / 2**30:,.0f} GiB: that fits no machine")
    model = _make(values)
    return _headless(model), int(model.config.get_text_config(encoder=True).hidden_size)


def encoder_parameters(values: Mapping[str, Any]) -> int:
    """Trainable numbers of an encoder, for which nothing is allocated.

    Raises:
        ConfigError: as `build_encoder`.
    """
    _check_sizes(values)
    with torch.device("meta"):
        return sum(weight.numel() for weight in _headless(_make(values)).parameters())


def _make(values: Mapping[str, Any]) -> Any:
    AutoModel, AutoConfig = _transformers("AutoModel", "AutoConfig")
    from huggingface_hub.errors import StrictDataclassError

    try:
        config = AutoConfig.for_model(**_fetching_nothing(_describing(values)))  # from anybody's saved model, maybe
        return AutoModel.from_config(config, trust_remote_code=False)
    except (StrictDataclassError, *BROKEN) as error:
        tell_of_machine(error)
        reason = str(error).strip().partition("\n")[0][:200]
        raise ConfigError(f"{_named(values)}: {reason or type(error).__name__}") from None


def _named(values: Mapping[str, Any]) -> str:
    return f"text encoder of model_type {values.get('model_type')!r:.60}"


def _check_sizes(values: Mapping[str, Any]) -> None:
    """Numbers that would have a loop of millions of layers, or tensors beyond what torch counts."""
    for name, value in values.items():
        if isinstance(value, int) and not isinstance(value, bool):
            most = MOST_LAYERS if "layer" in name else LARGEST
            if abs(value) > most:
                raise ConfigError(f"{_named(values)}: {name}: expected at most {most:,}, got {value!r:.60}")


def _headless(model: Any) -> Any:
    """Without a decoder and without a pooler: neither has a part in the states of the tokens."""
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def fill_encoder(module: EncodedText, source: str | Path) -> None:
    """Give a text encoder its pretrained weights.

    Raises:
        ConfigError: the checkpoint cannot be read, is not whole, has pickled weights only, or is of another model.
    """
    (AutoModel,) = _transformers("AutoModel")
    from transformers.utils import logging

    folder = checkpoint_folder(str(source))
    weight_files(str(source), folder)  # refuses what is not whole
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # it would list what a head on top has and the encoder has not
    logging.disable_progress_bar()
    try:
        loaded, report = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
        if missing:
            raise ConfigError(f"{source}: expected {missing[0]} among its weights, got no such tensor")
        module.encoder.load_state_dict(_headless(loaded).state_dict())
    except ConfigError:
        raise
    except Exception as error:  # transformers and safetensors raise bare exceptions of many kinds for broken files
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{source}: its weights cannot be loaded into the text encoder: {reason}") from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _transformers(*names: str) -> list[Any]:
    try:
        import transformers
    except ImportError:
        raise ConfigError("a text encoder needs transformers: pip install 'locomt[text]'") from None
    return [getattr(transformers, name) for name in names]
