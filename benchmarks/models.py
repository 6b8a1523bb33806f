"""The models that are timed, and the ways to run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from gpu import graphed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from locomt import FusionConfig, FusionModel
from locomt.cost import variants
from locomt.nn import AudioSpec, TextSpec, VideoSpec
from locomt.nn.attention import ViewAttention
from locomt.nn.config import FUSIONS
from locomt.nn.modalities import ModalitySpec
from locomt.ops import serving

BASELINE = "multiall"
CLASSES = 400


class Shape(NamedTuple):
    batch: int  # of a training step
    modalities: dict[str, ModalitySpec]


SHAPES = {
    "1569+401": Shape(32, {"video": VideoSpec(frames=8), "audio": AudioSpec(frames=800)}),
    "6273+1025+513": Shape(
        8,
        {
            "video": VideoSpec(frames=32),
            "audio": AudioSpec(frames=2048),
            "text": TextSpec(vocabulary=32768, max_length=512),
        },
    ),
}


class Mode(NamedTuple):
    """How a model is run."""

    compiled: bool
    graph: bool
    backend: str

    def __str__(self) -> str:
        backend = "" if self.backend == "auto" else f" {self.backend}"
        return ("compiled" if self.compiled else "eager") + " graph" * self.graph + backend


def configs(shape: Shape, fusion_layers: int) -> dict[str, FusionConfig]:
    """The models of one size, by name."""
    locomt = FusionConfig(
        preset="base",
        fusion_layers=fusion_layers,
        strategy="spread",
        cross=0.5,
        modalities=shape.modalities,
        num_outputs=CLASSES,
    )
    return {name: variants(locomt)[name] for name in FUSIONS}


def modes(name: str, compiled: bool, graph: bool) -> list[Mode]:
    """The baseline must be as fast as it can be, or ratios to it would flatter; so it tries every backend."""
    taken = ["auto"]
    if name == BASELINE:
        # "auto" takes fa4 where it pays; by name it refuses the last layer, where class tokens alone are read.
        taken += [name for name in serving("cuda", torch.bfloat16, 64) if name not in ("reference", "fa4")]
    return [
        Mode(by_compiler, from_graph, backend)
        for backend in taken
        for by_compiler in ((False, True) if compiled else (False,))
        for from_graph in ((False, True) if graph else (False,))
    ]


def stanced(run: Callable[[], Any], compiled: bool) -> Callable[[], Any]:
    """A run of a model whose layers were compiled, as compiled or as it was."""

    def call() -> Any:
        with torch.compiler.set_stance("default" if compiled else "force_eager"):
            return run()

    return call


def in_mode(run: Callable[[], Any], model: FusionModel, mode: Mode) -> Callable[[], Any]:
    attentions = [module for module in model.modules() if isinstance(module, ViewAttention)]
    staged = stanced(run, mode.compiled)

    def call() -> Any:
        if attentions[0].backend != mode.backend:
            for attention in attentions:
                attention.backend = mode.backend
        return staged()

    return graphed(call) if mode.graph else call


def training_step(
    model: FusionModel, optimizer: torch.optim.Optimizer, inputs: dict[str, Tensor], autocast: bool
) -> Callable[[], None]:
    labels = torch.zeros(len(next(iter(inputs.values()))), dtype=torch.int64, device="cuda")

    def run() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            loss = cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def inference(model: FusionModel, inputs: dict[str, Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad():
            return model(inputs)

    return run


def state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> int:
    """Weights, buffers and the optimiser's state; gradients live within a step only."""
    tensors = [*model.parameters(), *model.buffers()]
    if optimizer is not None:
        tensors += [t for state in optimizer.state.values() for t in state.values() if t.is_cuda]
    return sum(tensor.nbytes for tensor in tensors)


def example_inputs(model: FusionModel, batch: int, dtype: torch.dtype) -> dict[str, Tensor]:
    inputs = model.example_inputs(batch, "cuda")
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}
