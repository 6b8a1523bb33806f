"""What surrounds the kernels for Hopper GPUs: order, plan, statistics and sums, with stand-ins for the kernels.

The stand-ins do in torch what the kernels do with what they are handed, and know nothing else of the problem.
"""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings

from attention_problems import Problem, problems, tensors
from locomt.ops.hopper import launch as hopper
from locomt.ops.plan import segments
from locomt.ops.reference import reference_attention
from locomt.ops.triton.fused import LOG2_E

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter serves where there is no GPU")

SIZES = (0, 1, 31, 63, 64, 65, 130, 200)
PROGRAMS = 3


class StandIn:
    """A kernel that is a function: `kernel[grid](*arguments)`."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments, **constants: self.function(grid[0], *arguments, **constants)


def forward(
    programs, out, lse, q, k, v, table, width, tiles, order, counter, lengths, per_sample, H, N,
    o_b, o_h, o_n, scale, GROUPS, MET, **_,
):  # fmt: skip
    q, k, v, lengths = q.base, k.base, v.base, lengths.flatten()
    for program in range(programs):
        code = int(order[program])
        while code >= 0:
            counter += 1
            b, row = code // tiles, table[code % tiles].tolist()
            code = int(order[programs + int(counter) - 1])
            modality, first, start, size, _, met = row[:6]
            assert met <= MET
            h, rows = row[width - 1], slice(start + first, start + min(size, first + 64 * GROUPS))
            left = int(lengths[b * per_sample + modality]) - first
            spans = [(row[7 + 3 * s], int(lengths[b * per_sample + row[6 + 3 * s]])) for s in range(met)]
            keys = torch.cat([torch.arange(low, low + n) for low, n in spans] + [torch.arange(0)])
            scores = q[b, h, rows].double() @ k[b, h, keys].double().T * scale / LOG2_E
            real = (torch.arange(rows.stop - rows.start) < left) & (len(keys) > 0)
            assert out[b, h, rows].isnan().all()  # nobody has been here
            out[b, h, rows] = torch.where(real[:, None], scores.softmax(-1) @ v[b, h, keys].double(), 0).to(out.dtype)
            lse[b, h, rows] = torch.where(real, scores.logsumexp(-1) * LOG2_E, float("inf")).to(lse.dtype)


def backward(
    programs, q, k, v, grad, statistics, sums, dk, dv, plan, width, rows, dk_b, dk_h, dk_n, dv_b, dv_h, dv_n,
    scale, true_scale, **_,
):  # fmt: skip
    q, k, v, grad, statistics = (d.base for d in (q, k, v, grad, statistics))
    for row in plan.reshape(rows, width).tolist():
        b, h, start, left, real, blocks, met, _ = row[:8]
        keys = slice(start, start + max(0, min(128, real)))
        gradients = [torch.zeros(keys.stop - start, 64, dtype=torch.float64) for _ in range(2)]
        for s in range(met):
            n, low, block, _ = row[8 + 4 * s : 12 + 4 * s]
            for r in range(0, n, 64):
                at = slice(low + r, low + min(n, r + 64))
                lse, delta = statistics[(block + r // 64) * 128 :][:128].double().view(2, 64)[:, : at.stop - at.start]
                p = torch.exp2(q[b, h, at].double() @ k[b, h, keys].double().T * scale - lse[:, None])
                ds = p * (grad[b, h, at].double() @ v[b, h, keys].double().T - delta[:, None])
                gradients[0] += ds.T @ q[b, h, at].double() * true_scale
                gradients[1] += p.T @ grad[b, h, at].double()
                dq = torch.zeros(64, 64, dtype=torch.float64)
                dq[: at.stop - at.start] = ds @ k[b, h, keys].double()
                # A thread holds of the transposed product what the layout of a tensor-core product gives it.
                held = dq.T.reshape(4, 2, 8, 8, 4, 2).permute(3, 0, 2, 4, 1, 5).reshape(-1)
                sums[(block + r // 64) * 4096 :][:4096] += held.float()
                blocks -= 1
        assert blocks == 0
        for d, found in zip((dk, dv), gradients, strict=True):
            whole = d[b, h, start : start + min(left, 128)]
            assert whole.isnan().all()
            whole.zero_()
            whole[: len(found)] = found.to(d.dtype)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    from locomt.ops.hopper import backward as hopper_backward
    from locomt.ops.hopper import forward as hopper_forward

    monkeypatch.setattr(hopper, "_multiprocessors", lambda device: PROGRAMS)
    monkeypatch.setattr(hopper_forward, "forward_kernel", StandIn(forward))
    monkeypatch.setattr(hopper_backward, "backward_kernel", StandIn(backward))


@pytest.mark.parametrize("sums_bytes", [1, 2**28])
def test_all_around_the_kernels(sums_bytes: int, stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hopper, "SUMS_BYTES", sums_bytes)  # 1: one sample at a time

    @settings(max_examples=6)
    @given(problem=problems(most_modalities=4, sizes=SIZES))
    def check(problem: Problem) -> None:
        batch, layout, layer, lengths, on_missing, seed = problem
        if not layout.total or not batch:
            return
        sizes, masks, lengths = segments(layout, layer, lengths)
        own = layer.parts if on_missing == "self" else 0
        if lengths is not None:
            own = 0  # `fused` keeps the kernels from it
        qkv = tensors(batch, layout, layer, seed, width=64, dtype=torch.float16)
        exact = [t.detach().double().requires_grad_() for t in qkv]
        true = reference_attention(*exact, sizes, masks, lengths, 0.125, own)
        grad = torch.randn(true.shape, generator=torch.Generator().manual_seed(1)).half()
        true_gradients = torch.autograd.grad(true, exact, grad.double())
        q, k, v = (t.detach() for t in qkv)
        out, dq, dk, dv = (torch.full_like(q, float("nan")) for _ in range(4))
        lse = torch.full(q.shape[:3], float("nan"))
        hopper.forward(q, k, v, out, lse, sizes, masks, lengths, own, 0.125 * LOG2_E)
        scales = (0.125 * LOG2_E, 0.125)
        hopper.backward(grad, q, k, v, out, lse, (dq, dk, dv), sizes, masks, lengths, own, scales)
        scale = max(1.0, *(float(t.abs().max()) for t in true_gradients))
        for mine, exactly in zip((out, dq, dk, dv), (true.detach(), *true_gradients), strict=True):
            assert float((mine.double() - exactly).abs().max()) <= 4e-3 * scale

    check()
