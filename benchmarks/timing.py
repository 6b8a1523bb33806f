"""Paired timing: every candidate in turn, round after round, so that drift of the machine hits all alike."""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch


def paired_seconds(candidates: dict[str, Callable[[], Any]], device: str, budget: float) -> dict[str, float]:
    """Median seconds of each candidate over interleaved rounds, for about `budget` seconds in all."""
    for run in candidates.values():  # compile, choose algorithms, fill caches
        run()
        run()
    _wait(device)
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(next(iter(samples.values()))) < 5:
        for name, run in candidates.items():
            samples[name].append(_seconds(run, device))
    return {name: statistics.median(values) for name, values in samples.items()}


def _seconds(run: Callable[[], Any], device: str) -> float:
    if device == "cpu":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    # Several calls to an event pair, as a training step would queue them: the launch queue must not run dry.
    begin, finish = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    calls = 5
    begin.record()
    for _ in range(calls):
        run()
    finish.record()
    finish.synchronize()
    return float(begin.elapsed_time(finish)) / 1e3 / calls


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def machine(device: str) -> dict[str, Any]:
    """What a reader must know to repeat a figure."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python " + " ".join([Path(sys.argv[0]).as_posix(), *_without_out(sys.argv[1:])]),
        "device": torch.cuda.get_device_name() if device != "cpu" else f"{torch.get_num_threads()} CPU threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _without_out(arguments: list[str]) -> list[str]:
    """The arguments but for where the results went, which is nobody else's business."""
    place = arguments.index("--out") if "--out" in arguments else len(arguments)
    return arguments[:place] + arguments[place + 2 :]


def write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"wrote {path}")
