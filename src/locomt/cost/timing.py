"""Paired timing: every candidate once a round, in an order drawn anew, so that drift of the machine hits all alike.

A fixed order would not do: what ran before decides how warm and how fast the chip is, by 4 % as seen on an H200.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

Name = TypeVar("Name")
FEWEST_ROUNDS = 5
SPAN = 0.02  # seconds


def paired_seconds(candidates: Mapping[Name, Callable[[], Any]], device: str, budget: float) -> dict[Name, float]:
    """Median seconds of each candidate over interleaved rounds, for about `budget` seconds in all.

    On CUDA as many calls as take `SPAN` go to an event pair, as a training step would queue them: with a few, what the
    first of them waits for its launch was 10 % of a forward pass.
    """
    calls = {}
    for name, run in candidates.items():
        run()  # compiles, chooses algorithms, fills caches
        run()
        _wait(device)
        calls[name] = 1 if device == "cpu" else math.ceil(SPAN / _seconds(run, device, 1))
    order = random.Random(0)
    samples: dict[Name, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(next(iter(samples.values()))) < FEWEST_ROUNDS:
        for name in order.sample(list(candidates), len(candidates)):
            samples[name].append(_seconds(candidates[name], device, calls[name]))
    return {name: statistics.median(values) for name, values in samples.items()}


def _seconds(run: Callable[[], Any], device: str, calls: int) -> float:
    if device == "cpu":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    begin, finish = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(calls):
        run()
    finish.record()
    finish.synchronize()
    return float(begin.elapsed_time(finish)) / 1e3 / calls


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
