"""What a model, its cost and its checkpoints ask of a kind of modality, whatever the kind is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from locomt.nn.fields import check_sizes, check_types
from locomt.require import require

if TYPE_CHECKING:
    from locomt.nn.checkpoint import Checkpoint
    from locomt.nn.patches import Patches


@dataclass(frozen=True, kw_only=True)
class ModalitySpec(ABC):
    """What goes in of one modality: a frozen dataclass for each kind, validated when made.

    Attributes:
        kind: its name in recipes and in `config.json`.
        most: field -> the largest value it may have; the least of these fields is 1.
        has_time: whether its steps lie along time, so that answers along time can be read from its tokens.
        checkpoints: `model_type` of the pretrained checkpoints whose weights its tower can take.
    """

    kind: ClassVar[str]
    most: ClassVar[Mapping[str, int]]
    has_time: ClassVar[bool] = True
    checkpoints: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_types(self, f"{self.kind} ")
        check_sizes(self, f"{self.kind} ", **self.most)

    def check_multiple(self, name: str, of: str) -> None:
        """Raises `ConfigError` where one field is no multiple of another."""
        size, part = getattr(self, name), getattr(self, of)
        require(size % part == 0, f"{self.kind} {name} {size} is no multiple of its {of} {part}")

    @property
    @abstractmethod
    def grid(self) -> tuple[int, ...]:
        """Tokens of a full-length sample along each axis: first the steps of the input, then what each of them has."""

    @property
    @abstractmethod
    def max_steps(self) -> int:
        """Input steps (frames, vectors, ids) of a full-length sample."""

    @property
    def step(self) -> int:
        """Input steps from one token to the next along the grid's first axis."""
        return 1

    @property
    def window(self) -> int:
        """Input steps that one token spans; `step` or, where tokens overlap, more."""
        return self.step

    @property
    def class_tokens(self) -> int:
        """Tokens in front of the grid's, of whose outputs the head reads the mean."""
        return 1

    @property
    def tokens(self) -> int:
        """L_i of a full-length sample, its class tokens counted."""
        return math.prod(self.grid) + self.class_tokens

    @property
    def encoder(self) -> Mapping[str, Any] | None:
        """The configuration of a pretrained model that takes the place of the unimodal layers, see `TextSpec`."""
        return None

    @property
    def standardised(self) -> int:
        """How many numbers of a step are standardised by their statistics over the training data; 0 for none."""
        return 0

    @property
    def takes_lengths(self) -> bool:
        """Whether `projection` is told the real steps of each sample beside the inputs."""
        return self.encoder is not None

    @property
    @abstractmethod
    def inputs_per_token(self) -> int:
        """Numbers that are projected to a token; 0 where tokens are looked up or come from an encoder."""

    @property
    def index_bytes(self) -> int:
        """Bytes a token that autograd holds in whatever dtype the model computes: of ids that are looked up."""
        return 0

    def parameters(self, dim: int) -> int:
        """Trainable numbers of `projection`, without an encoder and what projects its states."""
        return self.inputs_per_token * dim + dim

    @abstractmethod
    def projection(self, dim: int) -> nn.Module:
        """From a batch of inputs to its tokens `[B, grid tokens, dim]`, of shorter inputs fewer."""

    @abstractmethod
    def example_input(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        """A random full-length batch."""

    def fixed_by(self, checkpoint: Checkpoint) -> dict[str, int]:
        """Field -> the value that weights of a checkpoint among `checkpoints` need."""
        raise NotImplementedError

    def lay(self, checkpoint: Checkpoint, patches: Patches, inflation: str) -> Patches:
        """A checkpoint's patch embedding as `projection` and the grid have it.

        Args:
            checkpoint: of a `model_type` among `checkpoints`.
            patches: what it has.
            inflation: how a patch becomes one of several frames, see `locomt.nn.pretrained.fill_towers`.
        """
        raise NotImplementedError
