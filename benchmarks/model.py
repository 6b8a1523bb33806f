"""The whole model: LoCoMT, Selfall, Multiall and MBT side by side, training and inference.

    python benchmarks/model.py                      # about eight minutes on an H200
    python benchmarks/model.py --shapes 1569+401 --fusion-layers 4 --models locomt    # a part, merged into --out

ViT-Base (preset `base`, 12 layers). LoCoMT's table is strategy `spread` with half of each fusion layer's heads self and
half cross. A training step is forward, loss, backward and fused AdamW, under bf16 autocast with float32 weights
unless `--precision bf16`; inference is in bf16. All models of one shape are timed in turns, each of them eager and with
its blocks compiled, at batch 1 from CUDA graphs too; the fastest counts. Multiall, which all are compared with, always
takes part, and with each backend of its attention. Utilisation (`mfu`) is FLOPs computed, training taken as 3 forward
passes, over time, over the rate of a large bf16 matrix product that is timed in the same turns.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from document import Document, default_path, machine, merged, read, same_machine, write
from gpu import MIB, PRODUCT_FLOPS, matrix_product, peak_bytes
from models import (
    BASELINE,
    SHAPES,
    configs,
    example_inputs,
    in_mode,
    inference,
    modes,
    state_bytes,
    training_step,
)

from locomt import FusionConfig, FusionModel
from locomt.cost import flops
from locomt.cost.timing import paired_seconds
from locomt.nn.config import FUSIONS

FUSION_LAYERS = (4, 12)


def utilisation(flops: float, seconds: float, rate: float) -> float:
    """The part of `rate` (FLOP/s) that doing `flops` in `seconds` amounts to."""
    return flops / seconds / rate


class Part(NamedTuple):
    """One comparison: a shape, how deep the fusion, training or inference at a batch size."""

    shape: str
    fusion_layers: int
    task: str
    batch: int

    def name(self, model: str) -> str:
        return f"{self.shape} fusion {self.fusion_layers} {self.task} batch {self.batch} {model}"


def compare(
    part: Part,
    models: dict[str, FusionModel],
    steps: dict[str, Callable[[], Any]],
    optimizers: dict[str, torch.optim.Optimizer],
    compiled: bool,
    budget: float,
) -> list[Document]:
    graph = part.task == "inference" and part.batch == 1
    runs = {
        (name, mode): in_mode(steps[name], models[name], mode)
        for name in models
        for mode in modes(name, compiled, graph)
    }
    product = ("matrix product", None)
    seconds: dict[Any, float] = paired_seconds({**runs, product: matrix_product()}, "cuda", budget)
    rate = PRODUCT_FLOPS / seconds.pop(product)
    best = {name: min((mode for n, mode in runs if n == name), key=lambda mode: seconds[name, mode]) for name in models}
    peaks = {}
    for name, model in models.items():
        # A graph's memory is set aside when it is recorded; what it holds is what the run that it records takes.
        run = in_mode(steps[name], model, best[name]._replace(graph=False))
        peaks[name] = peak_bytes(run) + state_bytes(model, optimizers.get(name))
    rows = []
    costs = configs(SHAPES[part.shape], part.fusion_layers)

    def computed(config: FusionConfig) -> int:
        return flops(config, batch=part.batch, everything=False).total

    for name in models:
        time, total = seconds[name, best[name]], computed(costs[name])
        needed = total * (3 if part.task == "training" else 1)
        rows.append(
            {
                "name": part.name(name),
                "model": name,
                **part._asdict(),
                "flop_ratio": round(total / computed(costs[BASELINE]), 4),
                "time_ratio": round(time / seconds[BASELINE, best[BASELINE]], 4),
                "memory_ratio": round(peaks[name] / peaks[BASELINE], 4),
                "ms": round(time * 1e3, 3),
                "peak_mib": round(peaks[name] / MIB, 1),
                "tflops": round(needed / time / 1e12, 1),
                "matrix_product_tflops": round(rate / 1e12, 1),
                "mfu": round(utilisation(needed, time, rate), 4),
                "mode": str(best[name]),
                "compiled": best[name].compiled,
                "all_ms": {str(mode): round(s * 1e3, 3) for (n, mode), s in seconds.items() if n == name},
            }
        )
        row = rows[-1]
        print(
            f"{row['name']:55} FLOPs {row['flop_ratio']:.3f}  time {row['time_ratio']:.3f}  memory "
            f"{row['memory_ratio']:.3f}  {row['ms']:.2f} ms  MFU {row['mfu']:.3f}  {row['mode']}",
            flush=True,
        )
    return rows


def run_size(shape: str, fusion_layers: int, names: list[str], args: argparse.Namespace) -> list[Document]:
    """Training, then inference with the same weights in bf16."""
    torch.manual_seed(0)
    compiled, autocast = not args.no_compile, args.precision == "autocast"
    with torch.device("cuda"):
        models = {n: FusionModel(c) for n, c in configs(SHAPES[shape], fusion_layers).items() if n in names}
    if compiled:
        for model in models.values():
            model.compile_layers()
    dtype = torch.float32 if autocast else torch.bfloat16
    models = {name: model.to(dtype) for name, model in models.items()}
    optimizers = {name: torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True) for name, model in models.items()}
    any_model = next(iter(models.values()))

    part = Part(shape, fusion_layers, "training", SHAPES[shape].batch)
    inputs = example_inputs(any_model, part.batch, dtype)
    steps = {name: training_step(model, optimizers[name], inputs, autocast) for name, model in models.items()}
    rows = compare(part, models, steps, optimizers, compiled, args.seconds)
    del steps, optimizers

    models = {name: model.to(torch.bfloat16).eval() for name, model in models.items()}
    for batch in args.inference:
        free()
        part = Part(shape, fusion_layers, "inference", batch)
        inputs = example_inputs(any_model, batch, torch.bfloat16)
        steps = {name: inference(model, inputs) for name, model in models.items()}
        rows += compare(part, models, steps, {}, compiled, args.seconds)
    return rows


def free() -> None:
    """Let go of what was compiled for, recorded from or allocated by what is no longer needed."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(FUSIONS), choices=FUSIONS)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=tuple(SHAPES))
    parser.add_argument("--fusion-layers", nargs="+", type=int, default=list(FUSION_LAYERS), choices=FUSION_LAYERS)
    parser.add_argument("--inference", nargs="*", type=int, default=[1, 32], help="batch sizes of inference")
    parser.add_argument("--precision", default="autocast", choices=("autocast", "bf16"), help="of training")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each timing")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<device>-model.json")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks/model.py: skipped; ViT-Base at these batch sizes needs a CUDA device with about 80 GB")
        return
    about, out = machine("cuda"), args.out or default_path("cuda", "model")
    parts = any(
        getattr(args, key) != parser.get_default(key) for key in ("models", "shapes", "fusion_layers", "inference")
    )
    earlier = read(out) if parts and out.exists() else None
    if earlier and not same_machine(earlier, about):
        parser.error(f"{out} holds figures of {earlier['device']}, torch {earlier['torch']}: expected another --out")
    # Every layer of every model calls the same code: a silent return to eager mode would be timed as compiled.
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.accumulated_recompile_limit = 1024
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    names = [name for name in FUSIONS if name in {*args.models, BASELINE}]
    rows: list[Document] = []
    for shape in args.shapes:
        for fusion_layers in args.fusion_layers:
            rows += run_size(shape, fusion_layers, names, args)
            free()
            document = {**about, "precision": args.precision, "cases": rows}
            write(out, merged(earlier, document) if earlier else document)


if __name__ == "__main__":
    main()
