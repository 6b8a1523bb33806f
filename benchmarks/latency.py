"""How long an answer and a training step take: LoCoMT beside its baselines, from the demo's size to ViT-Base.

    python benchmarks/latency.py                          # about six minutes on two CPU cores, three on an H200
    python benchmarks/latency.py --sizes demo --threads 1

All models of one size are timed in turns, eager, in float32 on a CPU and bf16 on CUDA; there, from CUDA graphs at batch
1 and with compiled blocks as well, and the fastest counts. `padded`: half of the samples are half as long.
Ratios are to Multiall's time; `flops` is the same ratio of what is computed, and `excess` how far time is above it;
`padding` is the time of a padded batch over that of the same model's full one.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from document import Document, default_path, machine, write
from gpu import graphed
from models import BASELINE, CLASSES, stanced
from torch import Tensor
from torch.nn.functional import cross_entropy

from locomt import FusionConfig, FusionModel
from locomt.cost import flops, variants
from locomt.cost.timing import paired_seconds
from locomt.nn import AudioSpec, VideoSpec
from locomt.nn.config import FUSIONS

DEMO = {
    "video": VideoSpec(frames=8, size=32, patch=8, tubelet=2),
    "audio": AudioSpec(frames=96, mels=32),
}
SHORT = {"video": VideoSpec(frames=2), "audio": AudioSpec(frames=400)}
LONG = {"video": VideoSpec(frames=8), "audio": AudioSpec(frames=800)}
SIZES: dict[str, dict[str, Any]] = {
    "demo": {"dim": 64, "heads": 4, "depth": 4, "fusion_layers": 3, "mlp_ratio": 2.0, "modalities": DEMO},
    "tiny": {"preset": "tiny", "modalities": SHORT},
    "small": {"preset": "small", "modalities": SHORT},
    "base": {"preset": "base", "modalities": LONG},
}
TASKS = ("inference", "padded inference", "training")
FULL = "full samples"
ON_CPU = ("demo", "tiny", "small")


def configs(size: str) -> dict[str, FusionConfig]:
    """The models of one size, by name."""
    locomt = FusionConfig(strategy="spread", cross=0.5, num_outputs=CLASSES, **SIZES[size])
    return {name: variants(locomt)[name] for name in FUSIONS}


def half_as_long(inputs: Mapping[str, Tensor], config: FusionConfig) -> dict[str, Tensor]:
    """Lengths by which every other sample, from the second, has half of its steps."""
    found = {}
    for name, values in inputs.items():
        full, step = values.shape[1], config.modalities[name].step
        short = max(step, full // 2 // step * step)
        found[name] = torch.tensor([(full, short)[i % 2] for i in range(len(values))])
    return found


def prepared(task: str, model: FusionModel, inputs: dict[str, Tensor]) -> Callable[[], Any]:
    """One run of a task."""
    cuda = next(iter(inputs.values())).is_cuda
    lengths = half_as_long(inputs, model.config) if task == "padded inference" else None
    if task != "training":

        def answer() -> Tensor:
            with torch.inference_mode():
                return model(inputs, lengths)  # type: ignore[no-any-return]

        return answer
    labels = torch.zeros(len(next(iter(inputs.values()))), dtype=torch.int64, device=next(iter(inputs.values())).device)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=cuda):
            cross_entropy(model(inputs).float(), labels).backward()

    return step


def modes(run: Callable[[], Any], task: str, batch: int, device: str) -> dict[str, Callable[[], Any]]:
    """The ways to do it that are tried, the compiled one last: blocks that were compiled stay so."""
    if device == "cpu":
        return {"eager": run}
    found = {"eager": stanced(run, False), "compiled": stanced(run, True)}
    if task == "inference" and batch == 1:
        found |= {f"{name} graph": graphed(call) for name, call in list(found.items())}
    return found


def compare(size: str, task: str, batch: int, device: str, budget: float) -> list[Document]:
    """Every model of a size at one task."""
    dtype = torch.float32 if device == "cpu" or task == "training" else torch.bfloat16
    runs: dict[tuple[str, str], Callable[[], Any]] = {}
    made = configs(size)
    for name, config in made.items():
        torch.manual_seed(0)
        model = FusionModel(config).to(device, dtype).train(task == "training")
        inputs = {key: values.to(dtype) for key, values in model.example_inputs(batch, device).items()}
        if device != "cpu":
            model.compile_layers()
        runs |= {(name, mode): run for mode, run in modes(prepared(task, model, inputs), task, batch, device).items()}
        if task == "padded inference":
            runs[name, FULL] = prepared("inference", model, inputs)
    seconds = paired_seconds(runs, device, budget)
    full = {name: seconds.pop((name, FULL)) for name in made if (name, FULL) in seconds}
    gc.collect()
    best = {
        name: min((mode for n, mode in seconds if n == name), key=lambda mode: seconds[name, mode]) for name in made
    }
    time = {name: seconds[name, best[name]] for name in made}
    work = {n: flops(c, backward=task == "training", everything=False).total for n, c in made.items()}
    rows = []
    for name in made:
        ratio, share = time[name] / time[BASELINE], work[name] / work[BASELINE]
        rows.append(
            {
                "name": f"{size} {task} batch {batch} {name}",
                "size": size,
                "task": task,
                "batch": batch,
                "model": name,
                "mode": best[name],
                "ms": 1e3 * time[name],
                "ratio": ratio,
                "flops": share,
                "excess": ratio - share,
                **({"padding": time[name] / full[name]} if full else {}),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, help="all on CUDA, all but base on a CPU")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--threads", type=int, help="of a CPU")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of timing for each size, task and batch")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    sizes = arguments.sizes or (ON_CPU if arguments.device == "cpu" else tuple(SIZES))
    rows: list[Document] = []
    for size in sizes:
        for task in arguments.tasks:
            for batch in arguments.batches:
                found = compare(size, task, batch, arguments.device, arguments.budget)
                rows += found
                told = ", ".join(f"{row['model']} {row['ratio']:.3f}/{row['flops']:.3f}" for row in found)
                print(f"{size:6} {task:17} batch {batch:3}: {told}", flush=True)
    path = arguments.out or default_path(arguments.device, "latency")
    write(path, {"machine": machine(arguments.device), "rows": rows})


if __name__ == "__main__":
    main()
