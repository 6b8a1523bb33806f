"""What a text encoder costs: another library's model, so it is counted while it runs on tensors without memory."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from locomt.nn.config import TextSpec
from locomt.nn.encoder import build_encoder


class EncoderCost(NamedTuple):
    """Of one sample.

    Attributes:
        parameters: trainable numbers.
        width: of its hidden states.
        forward, backward: FLOPs as `torch.utils.flop_counter` counts them with attention written out.
        held_bytes: what autograd holds for the backward pass when the forward has ended, in float32.
    """

    parameters: int
    width: int
    forward: int
    backward: int
    held_bytes: int


def encoder_cost(spec: TextSpec, ids: int) -> EncoderCost:
    """What the encoder of a text costs for a sample of so many token ids.

    Raises:
        ConfigError: there is no such encoder, or transformers is not installed.
    """
    assert spec.encoder is not None
    return _cost(json.dumps(spec.encoder, sort_keys=True), ids)


@lru_cache(maxsize=64)
def _cost(values: str, ids: int) -> EncoderCost:
    with torch.device("meta"):  # initial values cannot be drawn for fake tensors
        encoder, width = build_encoder(json.loads(values))
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    with FakeTensorMode(allow_non_fake_inputs=True):
        encoder.to_empty(device="cpu").eval()
        tokens = torch.zeros(1, ids, dtype=torch.int64)
        held = _held_bytes(encoder, tokens)
        write_out_attention(encoder)
        with FlopCounterMode(display=False) as forward:
            states = encoder(input_ids=tokens).last_hidden_state
        with FlopCounterMode(display=False) as backward:
            states.sum().backward()
    return EncoderCost(parameters, width, forward.get_total_flops(), backward.get_total_flops(), held)


def write_out_attention(encoder: Any) -> None:
    """Have a transformers model compute attention by matrix products, which torch's counter sees on any device."""
    encoder.set_attn_implementation("eager")


def _held_bytes(encoder: Any, tokens: Tensor) -> int:
    held: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage._cdata] = storage
        return tensor

    own = {tensor.untyped_storage()._cdata for tensor in (*encoder.parameters(), *encoder.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = encoder(input_ids=tokens).last_hidden_state
    del states
    return sum(storage.nbytes() for address, storage in held.items() if address not in own)
