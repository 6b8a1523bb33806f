"""View attention against dense attention: time ratio beside FLOP ratio.

    python benchmarks/attention.py                  # CUDA if there is one, else the CPU; under two minutes
    python benchmarks/attention.py --out results.json

Every case runs in one process with the dense attention it is compared with, in turns. On CUDA, dense is the
faster of cuDNN and flash, each timed. Errors are against float64 on a part of the batch.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from timing import machine, paired_seconds, write
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops import backends


@dataclass(frozen=True)
class Case:
    batch: int
    width: int
    lengths: dict[str, int]
    views: str

    @property
    def layout(self) -> TokenLayout:
        return TokenLayout(self.lengths)

    @property
    def layer(self) -> LayerViews:
        return LayerViews.parse(self.views, tuple(self.lengths))

    @property
    def name(self) -> str:
        tokens = "+".join(map(str, self.lengths.values()))
        return f"B{self.batch} H{len(self.layer.heads)} d{self.width} {tokens} {self.views}"

    @property
    def flop_ratio(self) -> float:
        return self.layer.score_pairs(self.lengths) / (len(self.layer.heads) * self.layout.total**2)

    @property
    def flops(self) -> float:
        """Of the forward pass: 4 d C a head, a multiply-add counted as 2."""
        return 4 * self.batch * self.width * self.layer.score_pairs(self.lengths)


AV = {"video": 1569, "audio": 401}
THREE = {"video": 6272, "audio": 1024, "text": 512}
CUDA_CASES = (
    Case(32, 64, AV, "self:6 video~audio:6"),
    Case(32, 64, AV, "video~audio:12"),
    Case(32, 64, AV, "self:12"),
    Case(1, 64, AV, "self:6 video~audio:6"),
    Case(8, 64, THREE, "self:3 video~audio:3 video~text:3 audio~text:3"),
    Case(8, 128, {"video": 4096, "audio": 1024}, "self:4 video~audio:4"),
)
CPU_CASES = (Case(4, 64, AV, "self:6 video~audio:6"), Case(4, 64, AV, "video~audio:12"))


def run_case(case: Case, backend: str, device: str, budget: float) -> dict[str, object]:
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    heads, layout, views = len(case.layer.heads), case.layout, case.layer
    generator = torch.Generator().manual_seed(0)
    packed = torch.randn(case.batch, layout.total, 3, heads, case.width, generator=generator)
    # The strides that a joint projection leaves.
    q, k, v = (t.transpose(1, 2).requires_grad_() for t in packed.to(device, dtype).unbind(2))
    grad = torch.randn(q.shape, generator=generator).to(device, dtype)

    def view(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return view_attention(q, k, v, layout, views, backend=backend)

    dense = {"dense": scaled_dot_product_attention}
    if device != "cpu":
        dense = {
            name: _only(kind)
            for name, kind in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION))
        }
    candidates = {"view": view, **dense}

    def forward(attend):
        def run() -> None:
            with torch.no_grad():
                attend(q, k, v)

        return run

    def both(attend):
        return lambda: torch.autograd.grad(attend(q, k, v), (q, k, v), grad)

    f = paired_seconds({n: forward(a) for n, a in candidates.items()}, device, budget)
    fb = paired_seconds({n: both(a) for n, a in candidates.items()}, device, budget)
    part = slice(0, 1)
    error = _relative_error(case, q[part], k[part], v[part], backend)
    row: dict[str, object] = {
        "name": case.name,
        "backend": backend,
        "flop_ratio": round(case.flop_ratio, 4),
        "forward_ratio": round(f["view"] / min(f[n] for n in dense), 4),
        "forward_backward_ratio": round(fb["view"] / min(fb[n] for n in dense), 4),
        "forward_ms": {n: round(t * 1e3, 4) for n, t in f.items()},
        "forward_backward_ms": {n: round(t * 1e3, 4) for n, t in fb.items()},
        "forward_tflops": round(case.flops / f["view"] / 1e12, 2),
        "forward_backward_tflops": round(3.5 * case.flops / fb["view"] / 1e12, 2),
        "relative_error": error,
    }
    print(
        f"{case.name:62} FLOPs {row['flop_ratio']:.3f}  forward {row['forward_ratio']:.3f}  "
        f"forward+backward {row['forward_backward_ratio']:.3f}  error {error:.1e}",
        flush=True,
    )
    return row


def _only(kind: SDPBackend):
    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(kind):
            return scaled_dot_product_attention(q, k, v)

    return attend


def _relative_error(case: Case, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, backend: str) -> float:
    """Of output and gradients together, against the reference in float64 on the same (rounded) inputs."""
    results = []
    for dtype, name in ((q.dtype, backend), (torch.float64, "reference")):
        leaves = [t.detach().to(dtype).requires_grad_() for t in (q, k, v)]
        out = view_attention(*leaves, case.layout, case.layer, backend=name)
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    pairs = zip(*results, strict=True)
    return float(max((a.double() - b).norm() / b.norm() for a, b in pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--backend", default="sdpa", choices=[n for n, reason in backends().items() if reason is None])
    parser.add_argument("--seconds", type=float, default=6.0, help="for each timing of each case")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<device>-attention.json")
    args = parser.parse_args()
    cases = CPU_CASES if args.device == "cpu" else CUDA_CASES
    seconds = args.seconds if args.device == "cpu" else min(args.seconds, 1.0)
    rows = [run_case(case, args.backend, args.device, seconds) for case in cases]
    default = Path(__file__).parent / "results" / f"{args.device}-attention.json"
    write(args.out or default, {**machine(args.device), "cases": rows})


if __name__ == "__main__":
    main()
