"""What leaving out rows that nobody reads saves in time, beside what it saves in FLOPs.

    python benchmarks/saved.py                                    # about three minutes on an H200

ViT-Base, as in `benchmarks/model.py`. Each model runs in turns as it is and with `everything`, which computes all rows
of all layers; both eager and with compiled blocks, at batch 1 from CUDA graphs without, and the fastest counts. `shown`
is the part of the FLOPs saved that shows in time: (1 - time ratio) / (1 - FLOP ratio).
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from document import Document, default_path, machine, write
from gpu import graphed
from models import SHAPES, configs, example_inputs, inference, stanced, training_step

from locomt import FusionConfig, FusionModel
from locomt.cost import flops
from locomt.cost.timing import paired_seconds
from locomt.nn.config import FUSIONS

TASKS = ("training", "inference", "single")


def runs_of(config: FusionConfig, task: str, batch: int, everything: bool) -> dict[str, Callable[[], Any]]:
    """The ways to run a model that are tried."""
    torch.manual_seed(0)
    dtype = torch.float32 if task == "training" else torch.bfloat16
    model = FusionModel(config).cuda().to(dtype).train(task == "training")
    model.everything = everything
    inputs = example_inputs(model, batch, dtype)
    if task == "training":
        run: Callable[[], Any] = training_step(model, torch.optim.AdamW(model.parameters(), fused=True), inputs, True)
    else:
        run = inference(model, inputs)
    if task == "single":
        replay = graphed(run)
        return {"eager graph": lambda kept=(model, inputs): replay()}  # a graph does not keep what it works on
    model.compile_layers()
    return {"eager": stanced(run, False), "compiled": stanced(run, True)}


def compare(shape: str, fusion_layers: int, name: str, task: str, budget: float) -> Document:
    """One model at one task."""
    config, batch = configs(SHAPES[shape], fusion_layers)[name], 1 if task == "single" else SHAPES[shape].batch
    runs = {
        (everything, mode): run
        for everything in (True, False)
        for mode, run in runs_of(config, task, batch, everything).items()
    }
    seconds = paired_seconds(runs, "cuda", budget)
    best = {e: min(time for (own, _), time in seconds.items() if own == e) for e in (True, False)}
    work = {e: flops(config, backward=task == "training", everything=e).total for e in (True, False)}
    time, share = best[False] / best[True], work[False] / work[True]
    return {
        "name": f"{shape} fusion {fusion_layers} {task} {name}",
        "batch": batch,
        "gflops": {"all": work[True] / 1e9, "computed": work[False] / 1e9},
        "ms": {f"{'all' if e else 'computed'} {mode}": 1e3 * t for (e, mode), t in seconds.items()},
        "time": time,
        "flops": share,
        "shown": (1 - time) / (1 - share),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["1569+401"])
    parser.add_argument("--fusion-layers", nargs="+", type=int, default=[4])
    parser.add_argument("--models", nargs="+", choices=FUSIONS, default=FUSIONS)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--budget", type=float, default=6.0, help="seconds of timing for each model and task")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    path = arguments.out or default_path("cuda", "saved")
    rows: list[Document] = []
    for shape in arguments.shapes:
        for layers in arguments.fusion_layers:
            for task in arguments.tasks:
                for name in arguments.models:
                    rows.append(row := compare(shape, layers, name, task, arguments.budget))
                    gc.collect()
                    print(f"{row['name']}: time {row['time']:.3f}, FLOPs {row['flops']:.3f}, shown {row['shown']:.2f}")
                    write(path, {**machine("cuda"), "cases": rows})


if __name__ == "__main__":
    main()
