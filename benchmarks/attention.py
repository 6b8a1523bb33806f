"""View attention against dense attention: time ratio beside FLOP ratio, and peak memory.

    python benchmarks/attention.py                  # CUDA if there is one, else the CPU; under three minutes
    python benchmarks/attention.py --out results.json

Every case runs in one process with the dense attentions it is compared with, in turns; a ratio is to the fastest of
them. Full batches meet cuDNN and flash, padded ones (lengths drawn between half and full) packed flash ("varlen"),
cuDNN sample by sample ("each") and attention under a mask. All backends of view attention take part; `--backend` says
whose ratios stand in front. A case of batch 1 is timed as CUDA graphs too. Errors are against float64 on one sample.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from cases import Case, cases
from contenders import Batch, Contender, dense, draw, view
from document import default_path, machine, write
from first_call import first_calls
from gpu import MIB, graphed, peak_bytes

from locomt import view_attention
from locomt.cost.timing import paired_seconds
from locomt.ops import backends, choose_backend, serving

SECONDS = {"cuda": 1.0, "cpu": 6.0}
PASSES = ("forward", "forward_backward")


def run_case(case: Case, chosen: str, device: str, budget: float) -> dict[str, Any]:
    batch = draw(case, device)
    q = batch.joint[:, :, 0].transpose(1, 2).detach().requires_grad_()
    # The reference is for comparing results, not times.
    names = [name for name in serving(device, q.dtype, case.width) if name != "reference"]
    taken = choose_backend(q, case.layout, case.layer, batch.lengths) if chosen == "auto" else chosen
    # Where backends compete, "auto" does too: it must not be slower than the best of them.
    views = {name: view(case, batch, name) for name in (["auto", *names] if len(names) > 1 else names)}
    rivals = dense(case, batch)
    mine = chosen if chosen in views else taken
    row: dict[str, Any] = {
        "name": case.name,
        "backend": taken,
        "padded": case.padded,
        "flop_ratio": round(case.flop_ratio, 4),
    }
    row |= _times(case, views, rivals, mine, device, budget, "")
    if device != "cpu":
        if case.batch == 1:
            row |= _times(case, views, rivals, mine, device, budget, "graph_")
        peaks = {name: peak_bytes(contender.both) / MIB for name, contender in (views | rivals).items()}
        row["peak_mib"] = {name: round(peak, 1) for name, peak in peaks.items()}
        row["memory_ratio"] = round(peaks[mine] / peaks["varlen" if case.padded else "flash"], 4)
    row["relative_error"] = relative_error(case, batch, mine)
    print(summary(row), flush=True)
    return row


def summary(row: dict[str, Any]) -> str:
    shown = [f"FLOPs {row['flop_ratio']:.3f}", f"forward {row['forward_ratio']:.3f}"]
    shown.append(f"forward+backward {row['forward_backward_ratio']:.3f}")
    if "graph_forward_ratio" in row:
        shown.append(f"graphs {row['graph_forward_ratio']:.3f} {row['graph_forward_backward_ratio']:.3f}")
    if "memory_ratio" in row:
        shown.append(f"memory {row['memory_ratio']:.2f}")
    return "  ".join([f"{row['name']:69}", *shown, f"error {row['relative_error']:.1e}", row["backend"]])


def _times(
    case: Case,
    views: dict[str, Contender],
    rivals: dict[str, Contender],
    mine: str,
    device: str,
    budget: float,
    prefix: str,
) -> dict[str, Any]:
    """What every contender takes, and its ratio to the fastest of the rivals."""
    row: dict[str, Any] = {}
    for name, factor in zip(PASSES, (1, 3.5), strict=True):
        part = prefix + name
        runs = {n: c.forward if name == "forward" else c.both for n, c in (views | rivals).items()}
        if prefix:
            runs = {n: graphed(run) for n, run in runs.items()}
        seconds = paired_seconds(runs, device, budget)
        best = min(seconds[n] for n in rivals)
        row[f"{part}_ratio"] = round(seconds[mine] / best, 4)
        row[f"{part}_ratios"] = {n: round(seconds[n] / best, 4) for n in views}
        row[f"{part}_ms"] = {n: round(s * 1e3, 4) for n, s in seconds.items()}
        row[f"{part}_tflops"] = round(factor * case.flops / seconds[mine] / 1e12, 2)
    return row


def relative_error(case: Case, batch: Batch, backend: str) -> float:
    """Of output and gradients together, against the reference in float64 on the same (rounded) inputs."""
    lengths = None if batch.lengths is None else batch.lengths[:1]
    results = []
    for dtype, name in ((batch.joint.dtype, backend), (torch.float64, "reference")):
        leaves = [t.transpose(1, 2).to(dtype).requires_grad_() for t in batch.joint[:1].unbind(2)]
        out = view_attention(*leaves, case.layout, case.layer, lengths=lengths, backend=name)
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    pairs = zip(*results, strict=True)
    return float(max((a.double() - b).norm() / b.norm() for a, b in pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=tuple(SECONDS))
    served = [name for name, reason in backends().items() if reason is None and name != "reference"]
    parser.add_argument("--backend", default="auto", choices=["auto", *served])
    parser.add_argument("--seconds", type=float, help="for each timing of each case; default: 1 on CUDA, 6 on a CPU")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<device>-attention.json")
    args = parser.parse_args()
    seconds = SECONDS[args.device] if args.seconds is None else args.seconds
    document = machine(args.device)
    with tempfile.TemporaryDirectory() as cache:
        if args.device != "cpu":
            document["first_call_seconds"] = first = first_calls(args.backend, Path(cache))
            print(
                "slowest first call, in seconds:",
                {state: max(times.values()) for state, times in first.items()},
                flush=True,
            )
            os.environ["TRITON_CACHE_DIR"] = cache  # what has been compiled need not be compiled again
        document["cases"] = []
        for case in cases(args.device):
            document["cases"].append(run_case(case, args.backend, args.device, seconds))
            write(args.out or default_path(args.device, "attention"), document)


if __name__ == "__main__":
    main()
