"""What models take on this machine: time, peak memory, and what autograd holds."""

from __future__ import annotations

import os
import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import profile

from locomt.nn.model import FusionModel

MIN_ROUNDS = 3


@dataclass(frozen=True)
class Measurement:
    """One model's time and memory.

    Attributes:
        latency_ms: median over the rounds.
        peak_memory_bytes: the model's parameters and buffers, its inputs, and the most that the run allocated
            through torch on top of them at any one moment: activations, gradients, workspaces. On CUDA as the caching
            allocator counts (`max_memory_allocated`), on the CPU as torch's profiler sees every allocation. Memory
            outside torch's allocators (libraries, the interpreter, the driver) is not in it.
        rounds: how many runs were timed.
    """

    latency_ms: float
    peak_memory_bytes: int
    rounds: int


def measure(
    models: Mapping[str, FusionModel],
    inputs: Mapping[str, Tensor],
    *,
    lengths: Mapping[str, Tensor] | None = None,
    training: bool = False,
    autocast: torch.dtype | None = None,
    seconds: float = 2.0,
) -> dict[str, Measurement]:
    """Time models side by side: each round runs every model once, so that drift of the machine hits all alike.

    Figures of one call can be compared as ratios; those of different calls less so. The runs that find the
    peaks are the warm-up.

    Args:
        models: name -> model, all on the device of `inputs`.
        inputs: as for `FusionModel.forward`; each model gets those of its own modalities.
        lengths: as for `FusionModel.forward`.
        training: time forward and backward in training mode (of the mean square of the logits, without an
            optimiser's step) instead of inference. Gradients that the models hold are dropped.
        autocast: run under autocast to this dtype.
        seconds: how long to go on with rounds; at least `MIN_ROUNDS` are run.

    Raises:
        ValueError: no models.
    """
    if not models:
        raise ValueError("expected one model or more to measure, got none")
    device = next(iter(inputs.values())).device
    modes = {name: model.training for name, model in models.items()}
    runs = {name: _run(model, inputs, lengths, training, autocast, device) for name, model in models.items()}
    try:
        for model in models.values():
            model.train(training).zero_grad(set_to_none=True)
        peaks = {}
        for name, run in runs.items():
            if device.type == "cuda":
                run()  # what libraries set up at their first call is nobody's peak
            peaks[name] = _own_bytes(models[name], inputs) + peak_bytes(run, device)
        samples: dict[str, list[float]] = {name: [] for name in runs}
        end, rounds = time.perf_counter() + seconds, 0
        while rounds < MIN_ROUNDS or time.perf_counter() < end:
            for name, run in runs.items():
                samples[name].append(_seconds(run, device))
            rounds += 1
    finally:
        for name, model in models.items():
            model.train(modes[name])
    return {name: Measurement(1e3 * statistics.median(samples[name]), peaks[name], rounds) for name in runs}


def _run(
    model: FusionModel,
    inputs: Mapping[str, Tensor],
    lengths: Mapping[str, Tensor] | None,
    training: bool,
    autocast: torch.dtype | None,
    device: torch.device,
) -> Callable[[], None]:
    own = {name: inputs[name] for name in model.config.modalities if name in inputs}
    own_lengths = None if lengths is None else {name: lengths[name] for name in own if name in lengths}

    def run() -> None:
        with torch.inference_mode(not training):
            with torch.autocast(device.type, autocast, enabled=autocast is not None):
                logits = model(own, own_lengths)
            if training:
                logits.float().square().mean().backward()
                model.zero_grad(set_to_none=True)  # the next run starts as this one did

    return run


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _own_bytes(model: FusionModel, inputs: Mapping[str, Tensor]) -> int:
    own = [inputs[name] for name in model.config.modalities if name in inputs]
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers(), *own))


def peak_bytes(run: Callable[[], None], device: torch.device) -> int:
    """The most that `run` allocates through torch at any one moment beyond what was there before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes to stderr that it starts and stops
    # That of torch.profiler makes a tree of all events, which takes twenty times as long as the run.
    with profile(use_cpu=True, profile_memory=True, use_kineto=True) as profiler:
        run()
    events = profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


class _Saved:
    """What autograd keeps in place of a tensor; it goes when autograd lets go of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # an output with its grad_fn would keep its own node alive


def saved_bytes(model: FusionModel, inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor] | None = None) -> int:
    """Bytes that autograd holds when a forward pass has ended: each storage once, parameters and buffers left out.

    The measured side of `locomt.cost.activation_bytes`.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    alive: weakref.WeakSet[_Saved] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        alive.add(saved)
        return saved

    def unpack(saved: Any) -> Tensor:
        tensor: Tensor = saved.tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        logits = model(inputs, lengths)
    storages = {s.tensor.untyped_storage().data_ptr(): s.tensor.untyped_storage().nbytes() for s in alive}
    del logits  # until here it kept the graph
    return sum(size for address, size in storages.items() if address not in own)
