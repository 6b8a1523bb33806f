"""Saving and loading a model: safetensors and JSON, on disk or on the Hugging Face hub. Runs no code it loads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from locomt.nn.checkpoint import read_json
from locomt.nn.config import ConfigError, FusionConfig, own_parameters
from locomt.nn.encoder import encoder_parameters

if TYPE_CHECKING:
    from huggingface_hub import ModelCard, ModelHubMixin
else:
    try:
        from huggingface_hub import ModelHubMixin
    except ModuleNotFoundError:  # models themselves need torch alone

        class ModelHubMixin:
            """Stands in where huggingface_hub is not installed, and says so when it is needed."""

            def __init_subclass__(cls, **_: Any) -> None:
                super().__init_subclass__()

            def save_pretrained(self, *_: Any, **__: Any) -> None:
                raise ModuleNotFoundError("saving and loading models needs huggingface_hub and safetensors")

            from_pretrained = push_to_hub = save_pretrained


WEIGHTS, CONFIG = "model.safetensors", "config.json"
CARD = """
A multimodal transformer of {modalities} with {outputs} outputs, saved by [locomt](https://arxiv.org/abs/2402.15096).
What it was trained on, what its outputs mean and how its inputs are made, nobody has written down here.

```python
from locomt import FusionModel

model = FusionModel.from_pretrained("this folder, or its id on the hub")
```
"""


class Pretrained(ModelHubMixin, library_name="locomt", tags=["multimodal", "locomt"]):
    """`save_pretrained(dir)`, `push_to_hub(repo)` and `from_pretrained(dir_or_repo)` for a model with a config.

    `from_pretrained(..., config=other)` builds the model from another configuration, with positions resized to it.
    """

    config: FusionConfig

    def _save_pretrained(self, save_directory: Path) -> None:
        from safetensors.torch import save_file

        assert isinstance(self, nn.Module)
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, save_directory / WEIGHTS, metadata={"format": "pt"})
        (save_directory / CONFIG).write_text(json.dumps(self.config.to_dict(), indent=2) + "\n")

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """What is so of any model: of those that were trained here a run writes more."""
        from huggingface_hub import ModelCard

        modalities = ", ".join(f"{name} ({spec.kind})" for name, spec in self.config.modalities.items())
        text = CARD.format(modalities=modalities, outputs=self.config.num_outputs)
        return ModelCard(f"---\n{self._hub_mixin_info.model_card_data.to_yaml()}\n---\n{text}")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        config: FusionConfig | None = None,
        map_location: str = "cpu",
        **unknown: Any,
    ) -> Any:
        """Load a model, ready for inference.

        Args:
            pretrained_model_name_or_path: what `save_pretrained` wrote, or an id on the hub.
            config: in place of the saved one; positions are resized to it.
            map_location: the device it goes to.
            revision, cache_dir, force_download, local_files_only, token: as `huggingface_hub` takes them.

        Raises:
            ConfigError: it is no saved model, or not whole; nothing is allocated that the weights do not fill.
            OSError: there is no such folder and no such id on the hub.
        """
        if unknown:
            raise ConfigError(f"from_pretrained: unknown argument {next(iter(unknown))!r}")
        source = str(pretrained_model_name_or_path)
        options: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "token": token}
        options |= {"force_download": force_download, "local_files_only": local_files_only}
        folder = folder_of(source, CONFIG, WEIGHTS, **options)
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise ConfigError(f"{source}: expected a saved model, found no {name}")
        return _load(cls, folder, config).to(map_location).eval()


def folder_of(source: str, *patterns: str, **options: Any) -> Path:
    """The folder that is meant, or one with what fits the patterns of that id on the hub.

    Args:
        source: a folder, or an id on the hub.
        patterns: of the files that are wanted.
        options: as `huggingface_hub.snapshot_download` takes them.

    Raises:
        OSError: there is neither, or the hub cannot be reached.
    """
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    here, hub = f"expected a folder or an id on the hub, got {source!r}: there is no such folder", constants.ENDPOINT
    try:
        return Path(snapshot_download(source, allow_patterns=list(patterns), **options))
    except HFValidationError:
        raise FileNotFoundError(f"{here}, and an id is owner/name") from None
    except RevisionNotFoundError:
        raise FileNotFoundError(f"{source} on {hub} has no revision {options.get('revision')!r}") from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(
            f"{here}, and no such model on {hub} that you may see; of a private one: `hf auth login`, or set HF_TOKEN"
        ) from None
    except LocalEntryNotFoundError:
        raise FileNotFoundError(f"{here}, it was not downloaded before, and {hub} cannot be reached") from None
    except HfHubHTTPError as error:
        raise OSError(f"{source}: {hub} says {' '.join(str(error).split())[:200]}") from None


def _load(kind: Any, folder: Path, config: FusionConfig | None) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        if config is None:
            config = _read_config(folder / CONFIG)
            _check_count(path, config)
        model = kind(config)
        model.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise ConfigError(f"{path}: not a whole safetensors file ({error}); save or download it again") from None
    except (RuntimeError, IndexError) as error:  # IndexError: of positions without axes
        first = " ".join(" ".join(str(error).split("\n")[:2]).split())[:300]  # it names every weight there is
        raise ConfigError(f"{path}: the weights do not fit {CONFIG}: {first}") from None
    return model


def _read_config(path: Path) -> FusionConfig:
    try:
        return FusionConfig.from_dict(read_json(path))
    except ValueError as error:  # of a field, or of the views
        raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from None


def _check_count(path: Path, config: FusionConfig) -> None:
    """Refuse a configuration that asks for more numbers than the file holds, before they are allocated."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        held = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
    wanted = own_parameters(config)
    if wanted <= held:  # else there is no need to look at the encoders
        wanted += sum(
            encoder_parameters(spec.encoder) for spec in config.modalities.values() if spec.encoder is not None
        )
    if wanted > held:
        raise ConfigError(
            f"{path}: the weights do not fit {CONFIG}, which describes {wanted:,} parameters "
            f"({4 * wanted / 2**30:,.1f} GiB), while the file holds {held:,} numbers; save or download it again"
        )
