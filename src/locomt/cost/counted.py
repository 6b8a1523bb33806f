"""FLOPs as torch counts them while a model runs: what the closed form is held to.

The model runs on fake tensors, which have shapes and no memory, so that sizes of any scale can be counted anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from locomt.cost.closed_form import CostError, token_counts
from locomt.cost.embeddings import write_out_attention
from locomt.nn.config import FusionConfig
from locomt.nn.encoder import EncodedText
from locomt.nn.model import FusionModel


def count_flops(
    config: FusionConfig,
    tokens: Mapping[str, int] | None = None,
    batch: int = 1,
    backward: bool = False,
    *,
    everything: bool = True,
) -> int:
    """FLOPs that `torch.utils.flop_counter` counts in the forward pass, or in forward and backward together.

    Args:
        tokens, batch, everything: as for `locomt.cost.flops`.

    Raises:
        CostError: see `locomt.cost.token_counts` and `shorten`.
    """
    with torch.device("meta"):  # initial values cannot be drawn for fake tensors
        model = FusionModel(config)
    with FakeTensorMode(allow_non_fake_inputs=True):  # the meta parameters, which the next line replaces
        model.to_empty(device="cpu")
        model.everything = everything
        for module in model.modules():
            if isinstance(module, EncodedText):
                write_out_attention(module.encoder)
        inputs = shorten(config, model.example_inputs(batch), tokens)
        with FlopCounterMode(display=False) as counter:
            logits = model(inputs)
            if backward:
                logits.sum().backward()
    return int(counter.get_total_flops())


def shorten(
    config: FusionConfig, inputs: Mapping[str, Tensor], tokens: Mapping[str, int] | None = None
) -> dict[str, Tensor]:
    """Full-length inputs cut in time to the given token counts; a modality of 0 tokens is left out.

    Raises:
        CostError: a count is not [CLS] and whole steps of the modality's grid.
    """
    short = {}
    for name, count in token_counts(config, tokens).items():
        spec = config.modalities[name]
        steps, rest = divmod(count - spec.class_tokens, math.prod(spec.grid[1:]))
        if count and rest:
            whole = math.prod(spec.grid[1:])
            raise CostError(
                f"tokens: expected of modality {name!r} {spec.class_tokens} and a multiple of {whole}, got {count}"
            )
        if count:
            short[name] = inputs[name][:, : (steps - 1) * spec.step + spec.window]
    return short
