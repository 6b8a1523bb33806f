"""Whether a graph answers as the model does: samples of all kinds, and those of a split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from locomt.data import Batch
from locomt.export.graphs import Answers
from locomt.nn.model import FusionModel
from locomt.runtime.bundle import feed
from locomt.train.predictor import Predictor

Array = np.ndarray[Any, Any]
Samples = list[dict[str, Array]]

TOLERANCE = 1e-4
"""By how much logits may differ, over the largest of the model's."""
BATCHES = (1, 3, 8)
ROUNDS = 5


class ParityError(RuntimeError):
    """A graph that does not answer as the model does: no bundle is made of it."""


def samples_of(model: FusionModel, count: int) -> Samples:
    """Random samples, always the same: the first whole, the second of one modality, the others of any lengths."""
    specs, draw = model.config.modalities, np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = {name: tensor.cpu().numpy() for name, tensor in model.example_inputs(count, "cpu").items()}
    readable, aligned = list(model.config.read), model.config.steps
    samples: Samples = []
    for i in range(count):
        lengths = {name: int(draw.integers(0, spec.max_steps + 1)) for name, spec in specs.items()}
        if i == 0:
            lengths = {name: spec.max_steps for name, spec in specs.items()}
        elif i == 1:
            lengths = dict.fromkeys(specs, 0)
        lengths |= dict.fromkeys(aligned, max(1, lengths[aligned[0]])) if aligned else {}
        if not any(lengths[name] for name in readable):
            lengths[readable[0]] = 1
        samples.append({name: whole[name][i][:length] for name, length in lengths.items() if length})
    return samples


@torch.inference_mode()
def by_model(model: FusionModel, sample: Mapping[str, Array]) -> Array:
    """The logits of a sample by itself."""
    inputs = {name: torch.from_numpy(np.ascontiguousarray(array))[None] for name, array in sample.items()}
    found: Array = model(inputs)[0].numpy()
    return found


def difference(model: FusionModel, answers: Answers, inputs: Mapping[str, Any]) -> float:
    """The most that logits differ by over `BATCHES`, over the largest of the model's.

    Raises:
        ParityError: by more than `TOLERANCE`, or another class comes first.
    """
    worst = 0.0
    samples = samples_of(model, sum(BATCHES))
    for end, count in zip(np.cumsum(BATCHES), BATCHES, strict=True):
        some = samples[end - count : end] if count > 1 else samples[:1]
        for place, (sample, found) in enumerate(zip(some, answers(*feed(inputs, some)), strict=True)):
            wanted = by_model(model, sample)
            own = found[: len(wanted)] if model.config.steps else found
            worst = max(worst, _compared(wanted, own, f"sample {place + 1} of a batch of {count}"))
    return worst


def same_answers(
    predictor: Predictor, answers: Answers, inputs: Mapping[str, Any], batches: Iterable[tuple[Batch, torch.Tensor]]
) -> int:
    """How many samples of a split the graph answers as the model does.

    Args:
        predictor: of the model.
        answers: of the graph.
        inputs: of the bundle.
        batches: what `locomt.train.evaluation.answers` gives.

    Raises:
        ParityError: it answers one of them otherwise.
    """
    count = 0
    for batch, _ in batches:
        for sample in _rows(batch):
            wanted = by_model(predictor.model, sample)
            found = answers(*feed(inputs, [sample]))[0]
            _compared(wanted, found[: len(wanted)] if predictor.data.steps else found, f"row {count + 1} of the split")
            count += 1
    return count


def _rows(batch: Batch) -> Iterator[dict[str, Array]]:
    for i in range(len(batch.ids) * batch.clips):
        lengths = {name: int(own[i]) for name, own in batch.lengths.items()}
        yield {name: batch.inputs[name][i, :length].numpy() for name, length in lengths.items() if length}


def _compared(wanted: Array, found: Array, where: str) -> float:
    largest = max(float(np.abs(wanted).max()), 1e-6)
    worst = float(np.abs(wanted - found).max()) / largest
    first = np.take_along_axis(found, wanted.argmax(axis=-1, keepdims=True), -1)[..., 0]
    if not worst <= TOLERANCE or (found.max(axis=-1) - first > TOLERANCE * largest).any():
        raise ParityError(
            f"{where}: the graph's logits differ from the model's by {worst:.2g} of the largest; expected at most "
            f"{TOLERANCE:g}. Nothing was written; please report this with the model's config.json"
        )
    return worst


def latencies(model: FusionModel, answers: Answers, inputs: Mapping[str, Any]) -> dict[int, tuple[float, float]]:
    """Milliseconds of the model and of the graph by batch size, the least of `ROUNDS`, of full samples in turn."""
    found = {}
    for count in (BATCHES[0], BATCHES[-1]):
        samples: Sequence[Mapping[str, Array]] = [samples_of(model, 1)[0]] * count
        arrays, lengths = feed(inputs, samples)
        tensors = {
            name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in model.config.modalities
        }

        def eager(tensors: Mapping[str, torch.Tensor] = tensors) -> None:
            with torch.inference_mode():
                model(tensors)

        calls: tuple[Callable[[], object], ...] = (eager, partial(answers, arrays, lengths))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS + 1):  # the first of each is not counted
            for call, own in zip(calls, times, strict=True):
                start = time.perf_counter()
                call()
                own.append(1000 * (time.perf_counter() - start))
        found[count] = (min(times[0][1:]), min(times[1][1:]))
    return found
