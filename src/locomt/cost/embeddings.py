"""What it costs to make a modality's tokens: of a projection from its sizes, of an encoder as it runs.

An encoder is another library's model, so it is counted while it runs on tensors without memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from locomt.nn.encoder import build_encoder
from locomt.nn.modalities import ModalitySpec


class EncoderCost(NamedTuple):
    """What an encoder costs for one sample.

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


def inputs_per_token(spec: ModalitySpec, dim: int) -> int:
    """Width of what is projected to a token; 0 where tokens are looked up, or an encoder's states as wide as they."""
    if spec.encoder is None:
        return spec.inputs_per_token
    width = encoder_cost(spec.encoder, spec.max_steps).width
    return 0 if width == dim else width


def embedding_flops(spec: ModalitySpec, made: int, dim: int) -> int:
    """Of projecting one sample to so many tokens without class tokens, and of an encoder before that."""
    encoder = 0 if spec.encoder is None else encoder_cost(spec.encoder, made).forward
    return encoder + 2 * made * inputs_per_token(spec, dim) * dim


def embedding_backward_flops(spec: ModalitySpec, made: int, dim: int) -> int:
    """The gradient of the projection's weight and, where an encoder comes before it, of its input and the encoder."""
    projection = 2 * made * inputs_per_token(spec, dim) * dim
    return projection if spec.encoder is None else encoder_cost(spec.encoder, made).backward + 2 * projection


def embedding_bytes(spec: ModalitySpec, made: int, dim: int, dtype_bytes: int) -> int:
    """What autograd holds of one sample: what is projected, ids that are looked up, and what an encoder holds."""
    encoder = 0 if spec.encoder is None else encoder_cost(spec.encoder, made).held_bytes * dtype_bytes // 4
    return made * (inputs_per_token(spec, dim) * dtype_bytes + spec.index_bytes) + encoder


def encoder_parameters(spec: ModalitySpec, dim: int) -> int:
    """Trainable numbers of an encoder and of what projects its states; 0 where there is none."""
    if spec.encoder is None:
        return 0
    inputs = inputs_per_token(spec, dim)
    return encoder_cost(spec.encoder, spec.max_steps).parameters + (inputs * dim + dim if inputs else 0)


def encoder_cost(values: Mapping[str, Any], ids: int) -> EncoderCost:
    """What an encoder of this configuration costs for a sample of so many token ids.

    Raises:
        ConfigError: there is no such encoder, or transformers is not installed.
    """
    return _cost(json.dumps(values, sort_keys=True), ids)


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
