"""A model as a graph that leaves Python: any batch size, any times, any subset of modalities, in torch's own operators.

    program = model.export()
    program.module()(inputs, lengths)        # and torch.export.save, torch.onnx, torch._inductor

A graph takes every modality. One that a sample lacks has length 0 and whatever lies in its input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from locomt.nn.modalities import ModalitySpec
from locomt.nn.standard import real_steps
from locomt.require import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FEWEST = 2
"""Tokens along time, and samples, that a graph is made with: torch takes a size of 1 for one that never changes."""


class ModelGraph(nn.Module):
    """What is exported of a model: it takes all modalities, and all lengths in one tensor."""

    def __init__(self, model: Any) -> None:  # a `FusionModel`, whose file imports this one
        super().__init__()
        self.model = model

    def forward(
        self, inputs: Mapping[str, Tensor], lengths: Int[Tensor, "batch modalities"]
    ) -> Float[Tensor, "batch *steps outputs"]:
        """Logits, as `FusionModel.forward` gives them.

        Args:
            inputs: of every modality as the model takes it; steps as `described` says. Pixels are bytes.
            lengths: in the order of the modalities how many steps of each sample are real, 0 where it lacks one.
        """
        own = dict(zip(self.model.config.modalities, lengths.unbind(1), strict=True))
        return self.model({name: _pixels(x, own[name]) for name, x in inputs.items()}, own)  # type: ignore[no-any-return]


def _pixels(values: Tensor, lengths: Tensor) -> Tensor:
    """Bytes as numbers from -1 to 1; 0 where they are padding, as the model pads what is too short for a token."""
    if values.dtype != torch.uint8:
        return values
    return (values.float() / 127.5 - 1) * real_steps(values, lengths)


def described(model: Any) -> dict[str, dict[str, Any]]:
    """What a graph takes of every modality, in plain types: `shape` and `dtype` of a step, and of how many steps.

    They are whole tokens, `fewest` to `tokens` of them: n take `window + (n - 1) * step` steps.
    """
    inputs, _ = example(model)
    aligned, found = model.config.steps, {}
    for name, spec in model.config.modalities.items():
        tokens = spec.grid[0]
        found[name] = {
            "shape": list(inputs[name].shape[2:]),
            "dtype": str(inputs[name].dtype).removeprefix("torch."),
            "window": spec.window,
            "step": spec.step,
            "tokens": tokens,
            "fewest": min(tokens, FEWEST),
        } | ({"as_long_as": aligned[0]} if name in aligned else {})
    return found


def _steps_of(spec: ModalitySpec, tokens: int) -> int:
    return (tokens - 1) * spec.step + spec.window


def _time(name: str, spec: ModalitySpec) -> Any:
    """The dimension of a modality's steps; None where there is nothing to choose."""
    most = spec.grid[0]
    if most <= FEWEST:
        return None
    tokens: Any = Dim(name, min=FEWEST, max=most)
    more = spec.window - spec.step
    whole = tokens if spec.step == 1 else spec.step * tokens
    return whole + more if more else whole


def example(model: Any, batch: int = FEWEST) -> tuple[dict[str, Tensor], Tensor]:
    """Random inputs of full length for a graph, and their lengths."""
    specs = model.config.modalities
    steps = {name: _steps_of(spec, spec.grid[0]) for name, spec in specs.items()}
    inputs = {name: x[:, : steps[name]] for name, x in model.example_inputs(batch).items()}
    return inputs, torch.tensor([list(steps.values())] * batch)


def export_graph(model: Any) -> ExportedProgram:
    """See `FusionModel.export`."""
    for name, spec in model.config.modalities.items():
        require(spec.encoder is None, f"modality {name!r}: a model with a text encoder cannot be exported yet")
    inputs, lengths = example(model)
    specs, batch = model.config.modalities, Dim("batch")
    alike = _time("steps", specs[model.config.steps[0]]) if model.config.steps else None
    times = {
        name: alike if name in model.config.steps else _time(f"steps_{i}", spec)
        for i, (name, spec) in enumerate(specs.items())
    }
    dimensions = {name: {0: batch} if time is None else {0: batch, 1: time} for name, time in times.items()}
    training = model.training
    graph = ModelGraph(model).eval()
    try:
        with torch.no_grad():
            program = torch.export.export(
                graph, (inputs, lengths), dynamic_shapes=(dimensions, {0: batch}), strict=False
            )
    finally:
        model.train(training)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the paths of this machine
    return program
