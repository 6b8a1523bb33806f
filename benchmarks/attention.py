"""View attention against dense attention: time ratio beside FLOP ratio, and peak memory.

    python benchmarks/attention.py                  # CUDA if there is one, else the CPU; under three minutes
    python benchmarks/attention.py --out results.json

Every case runs in one process with the dense attentions it is compared with, in turns; a ratio is to the fastest of
them. Full batches meet cuDNN and flash, padded ones (lengths drawn between half and full) packed flash ("varlen"),
cuDNN sample by sample ("each") and attention under a mask; both meet FlashAttention-4 where flash-attn-4 is installed.
All backends of view attention take part; `--backend` says whose ratios stand in front. A case of batch 1 is timed as
CUDA graphs too, and with `--graphs` every one. What each contender computes for the first sample is compared with
float64 before it is timed, and who is wrong is not.
"""

from __future__ import annotations

import argparse
import math
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
from torch import Tensor

from locomt import LayerViews, TokenLayout, view_attention
from locomt.cost.timing import paired_seconds
from locomt.ops import backends, choose_backend, serving

SECONDS = {"cuda": 1.0, "cpu": 6.0}
WRONG = 0.03  # an error that rounding to bfloat16 does not explain
PASSES = ("forward", "forward_backward")


def run_case(case: Case, chosen: str, device: str, budget: float, graphs: bool = False) -> dict[str, Any]:
    batch = draw(case, device)
    q = batch.joint[:, :, 0].transpose(1, 2).detach().requires_grad_()
    # The reference is for comparing results, not times; fa4 refuses padded batches.
    others = ("reference", "fa4") if case.padded else ("reference",)
    names = [name for name in serving(device, q.dtype, case.width) if name not in others]
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
        "errors": _checked(case, batch, views, rivals),
    }
    row |= _times(case, views, rivals, mine, device, budget, "")
    if device != "cpu":
        if graphs or case.batch == 1:
            row |= _times(case, views, rivals, mine, device, budget, "graph_")
        peaks = {name: peak_bytes(contender.both) / MIB for name, contender in (views | rivals).items()}
        row["peak_mib"] = {name: round(peak, 1) for name, peak in peaks.items()}
        row["memory_ratio"] = round(peaks[mine] / peaks["varlen" if case.padded else "flash"], 4)
    row["relative_error"] = row["errors"][mine]
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


def _checked(
    case: Case, batch: Batch, views: dict[str, Contender], rivals: dict[str, Contender]
) -> dict[str, float | str]:
    """Every contender's error; those that are wrong or fail are taken out of the race."""
    errors: dict[str, float | str] = {}
    for contenders, layer in (
        (views, case.layer),
        (rivals, LayerViews.parse(f"multi:{case.heads}", tuple(case.tokens))),
    ):
        exact = _exact(case, batch, layer)
        for name in [*contenders]:
            try:
                errors[name] = error = _error(contenders[name].of_first_sample(), exact)
            except RuntimeError as reason:
                errors[name], error = str(reason).splitlines()[0], math.inf
            if not error < WRONG:
                print(f"{case.name}: {name} is wrong ({errors[name]})", flush=True)
                del contenders[name]
    return errors


def _exact(case: Case, batch: Batch, layer: LayerViews) -> list[Tensor]:
    """The output and the gradients of the first sample's real tokens, by the reference in float64."""
    real = batch.real[0]
    layout = TokenLayout(dict(zip(case.tokens, case.lengths[0].tolist(), strict=True)))
    leaves = [t[real].double().transpose(0, 1)[None].requires_grad_() for t in batch.joint[0].unbind(1)]
    out = view_attention(*leaves, layout, layer, backend="reference")
    gradients = torch.autograd.grad(out, leaves, batch.grad[0][real].double().transpose(0, 1)[None])
    return [t.detach()[0].transpose(0, 1) for t in (out, *gradients)]


def _error(found: list[Tensor], exact: list[Tensor]) -> float:
    """The largest of output and gradients; padding, where there is any, left out."""
    return max(float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=tuple(SECONDS))
    served = [name for name, reason in backends().items() if reason is None and name != "reference"]
    parser.add_argument("--backend", default="auto", choices=["auto", *served])
    parser.add_argument("--seconds", type=float, help="for each timing of each case; default: 1 on CUDA, 6 on a CPU")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<device>-attention.json")
    parser.add_argument("--graphs", action="store_true", help="time every case as CUDA graphs too")
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
            document["cases"].append(run_case(case, args.backend, args.device, seconds, args.graphs))
            write(args.out or default_path(args.device, "attention"), document)


if __name__ == "__main__":
    main()
