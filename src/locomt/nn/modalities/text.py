"""Text: token ids, which are looked up or go through a pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from locomt.nn.encoder import EncodedText
from locomt.nn.fields import LONG
from locomt.nn.modalities.base import ModalitySpec
from locomt.require import require

if TYPE_CHECKING:
    from jaxtyping import Int


@dataclass(frozen=True, kw_only=True)
class TextSpec(ModalitySpec):
    """Token ids `[B, time]` below `vocabulary`.

    Attributes:
        encoder: the configuration of a transformers model, as in its `config.json`, whose last hidden states become the
            tokens and which takes the place of the unimodal layers; see `locomt.nn.encoder`. None: ids are looked up.
    """

    kind: ClassVar[str] = "text"
    most: ClassVar[Mapping[str, int]] = {"vocabulary": LONG, "max_length": LONG}
    has_time: ClassVar[bool] = False
    vocabulary: int
    max_length: int
    encoder: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder is None:
            return
        require(
            isinstance(self.encoder.get("model_type"), str),
            f"text encoder: expected the config.json of a transformers model, got {self.encoder!r:.60}",
        )
        for name, here in (("vocab_size", self.vocabulary), ("max_position_embeddings", self.max_length)):
            most = self.encoder.get(name)
            require(
                not isinstance(most, int) or here <= most,
                f"text: the encoder's {name} is {most}, less than the {here} that the tokenizer or max_length asks for",
            )

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def max_steps(self) -> int:
        return self.max_length

    @property
    def inputs_per_token(self) -> int:
        return 0

    @property
    def index_bytes(self) -> int:
        return 8 if self.encoder is None else 0  # an encoder's ids are counted with what else it holds

    def parameters(self, dim: int) -> int:
        return self.vocabulary * dim if self.encoder is None else 0

    def projection(self, dim: int) -> nn.Module:
        return TokenIds(self, dim) if self.encoder is None else EncodedText(self.encoder, dim)

    def example_input(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        return torch.randint(0, self.vocabulary, (batch, self.max_length), device=device)


class TokenIds(nn.Module):
    """`[B, T]` token ids to a token each."""

    def __init__(self, spec: TextSpec, dim: int) -> None:
        super().__init__()
        self.project = nn.Embedding(spec.vocabulary, dim)

    def forward(self, ids: Int[Tensor, "batch time"]) -> Tensor:
        if ids.ndim != 2 or ids.is_floating_point():
            raise ValueError(f"expected integer token ids [batch, time], got {ids.dtype} {list(ids.shape)}")
        return self.project(ids)  # type: ignore[no-any-return]
