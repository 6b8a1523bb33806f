"""Saving and loading a model: safetensors and JSON, on disk or on the Hugging Face hub. Runs no code it loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from locomt.nn.config import ConfigError, FusionConfig

if TYPE_CHECKING:
    from huggingface_hub import ModelHubMixin
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


class Pretrained(ModelHubMixin, library_name="locomt", license="apache-2.0", tags=["multimodal", "locomt"]):
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

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        config: FusionConfig | dict[str, Any] | None = None,
        map_location: str = "cpu",
        **unknown: Any,
    ) -> Any:
        from huggingface_hub import hf_hub_download
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if unknown:
            raise ConfigError(f"from_pretrained: unknown argument {next(iter(unknown))!r}")
        if config is None:
            raise ConfigError(f"{model_id}: expected a saved model, found no {CONFIG}")
        if not isinstance(config, FusionConfig):
            config = FusionConfig.from_dict(config)
        if Path(model_id).is_dir():
            path = Path(model_id) / WEIGHTS
            if not path.is_file():
                raise ConfigError(f"{model_id}: expected a saved model, found no {WEIGHTS}")
        else:
            path = Path(
                hf_hub_download(
                    model_id,
                    WEIGHTS,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        model = cls(config)
        assert isinstance(model, nn.Module)
        try:
            model.load_state_dict(load_file(path))
        except SafetensorError as error:
            raise ConfigError(f"{path}: not a whole safetensors file ({error}); save or download it again") from None
        except RuntimeError as error:
            raise ConfigError(f"{path}: the weights do not fit {CONFIG}: {error}") from None
        return model.to(map_location).eval()
