"""The kernels for Hopper GPUs: numbers on such a GPU, and everywhere whether they still compile for one."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from attention_problems import Problem, problems, seen, tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops.hopper import launch as hopper
from locomt.ops.plan import segments

pytest.importorskip("triton")

SIZES = (0, 1, 31, 33, 63, 64, 65, 128, 129, 200, 401)
THREE = TokenLayout({"video": 401, "audio": 129, "text": 33})
VIEWS = LayerViews.parse("self:1 video~audio:1 text>video:1 multi:1 audio~text:1 cls:1", THREE.modalities)


@pytest.fixture
def hopper_gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Problems of any size go to the kernels for Hopper."""
    device = torch.device("cuda", 0)
    if not hopper.available(device):
        pytest.skip("needs a Hopper GPU and a release of Triton that the kernels were tested with")
    monkeypatch.setattr(hopper, "SHAPES", {d: shape._replace(tiles=0) for d, shape in hopper.SHAPES.items()})
    monkeypatch.setattr(hopper, "BACKWARD_TILES", 0)
    monkeypatch.setattr(hopper, "SLOWER_PADDED", ())
    return device


def run(
    qkv: list[torch.Tensor], layout: TokenLayout, layer: LayerViews, backend: str = "triton", **options: Any
) -> list[torch.Tensor]:
    """The output and the gradients of q, k and v."""
    out = view_attention(*qkv, layout, layer, backend=backend, **options)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return [out, *torch.autograd.grad(out, qkv, grad.to(out))]


def double(qkv: list[torch.Tensor]) -> list[torch.Tensor]:
    return [t.detach().double().requires_grad_() for t in qkv]


def errors(results: Iterable[torch.Tensor], exact: Iterable[torch.Tensor]) -> list[float]:
    return [float(((a.double() - b).norm() / b.norm()).detach()) for a, b in zip(results, exact, strict=True)]


@pytest.mark.gpu
@pytest.mark.parametrize(("width", "modalities", "examples"), [(64, 5, 40), (128, 2, 10)])
def test_equals_the_reference(width: int, modalities: int, examples: int, hopper_gpu: torch.device) -> None:
    @settings(max_examples=examples)
    @given(problem=problems(most_modalities=modalities, sizes=SIZES))
    def check(problem: Problem) -> None:
        batch, layout, layer, lengths, on_missing, seed = problem
        qkv = tensors(batch, layout, layer, seed, width=width, dtype=torch.float16, device="cuda")
        options = {"lengths": lengths, "on_missing": on_missing}
        found = run(qkv, layout, layer, **options)
        exact = run(double(qkv), layout, layer, backend="reference", **options)
        scale = max(b.norm() for b in exact)
        assert all((a.double() - b).norm() <= 1.5e-3 * scale for a, b in zip(found, exact, strict=True))
        sees = seen(layout, layer, lengths, on_missing, batch).to("cuda")
        for result, used in zip(found, (sees.any(3), sees.any(3), sees.any(2), sees.any(2)), strict=True):
            assert not result[~used].any()

    check()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("lengths", [None, [[401, 129, 33], [256, 0, 1], [0, 65, 32]]])
def test_error_is_that_of_torch(
    width: int, dtype: torch.dtype, lengths: list[list[int]] | None, hopper_gpu: torch.device
) -> None:
    lengths = None if lengths is None else torch.tensor(lengths)
    qkv = tensors(3, THREE, VIEWS, 0, width=width, dtype=dtype, device="cuda")
    assert hopper.serves_forward(*qkv, THREE.lengths, lengths is not None)
    assert hopper.serves_backward(qkv[0], *qkv, THREE.lengths) == (width == 64)
    found = run(qkv, THREE, VIEWS, lengths=lengths)
    exact = run(double(qkv), THREE, VIEWS, backend="reference", lengths=lengths)
    torch_s = run(qkv, THREE, VIEWS, backend="sdpa", lengths=lengths)
    for mine, dense in zip(errors(found, exact), errors(torch_s, exact), strict=True):
        assert mine <= 1.1 * dense


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", [None, [[401, 129, 33], [256, 0, 1], [0, 65, 32], [401, 100, 33], [12, 3, 2]]])
def test_gradients_in_several_passes(
    lengths: list[list[int]] | None, hopper_gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples whose sums of gradients do not fit at once come in turns: here two, two and one."""
    samples = 5
    lengths = None if lengths is None else torch.tensor(lengths)
    qkv = tensors(samples, THREE, VIEWS, 0, width=64, dtype=torch.float16, device="cuda")
    blocks = sum(-(-n // hopper.QUERIES) for n in segments(THREE, VIEWS).layout)
    sums = 4 * len(VIEWS.heads) * blocks * hopper.QUERIES * hopper.BACKWARD_WIDTH
    monkeypatch.setattr(hopper, "SUMS_BYTES", 2 * sums)
    passes = []
    work = hopper._work
    monkeypatch.setattr(hopper, "_work", lambda *a: passes.append((a[3], a[5])) or work(*a))
    found = run(qkv, THREE, VIEWS, lengths=lengths)
    assert [some for by_key, some in passes if by_key] == [2, 2, 1]
    exact = run(double(qkv), THREE, VIEWS, backend="reference", lengths=lengths)
    largest = max(b.norm() for b in exact)
    assert all((a.double() - b).norm() <= 1.5e-3 * largest for a, b in zip(found, exact, strict=True))


@pytest.mark.gpu
def test_padding_and_other_modalities_may_hold_anything(hopper_gpu: torch.device) -> None:
    lengths = torch.tensor([[401, 3, 0], [200, 129, 33], [0, 0, 1]])
    clean = tensors(3, THREE, VIEWS, 0, width=64, dtype=torch.bfloat16, device="cuda")
    real = torch.cat([torch.arange(n) < lengths[:, i : i + 1] for i, n in enumerate(THREE.lengths)], dim=1).cuda()
    nan = [t.detach().masked_fill(~real[:, None, :, None], float("nan")).requires_grad_() for t in clean]
    found, exact = (run(qkv, THREE, VIEWS, lengths=lengths) for qkv in (nan, clean))
    for a, b in zip(found, exact, strict=True):
        # Gradients of queries are summed in whatever order: not bit for bit the same.
        torch.testing.assert_close(a, b, atol=2e-2, rtol=2e-2)
        assert not a.masked_select(~real[:, None, :, None]).any()
    layer = LayerViews.parse("self:2", THREE.modalities)
    qkv = [t.detach()[:, :2].clone() for t in clean]
    whole = view_attention(*qkv, THREE, layer, backend="triton")
    for t in qkv:
        t[:, :, THREE.slice("audio")] = float("nan")
    for name in ("video", "text"):
        part = view_attention(*qkv, THREE, layer, backend="triton")[:, :, THREE.slice(name)]
        assert torch.equal(part, whole[:, :, THREE.slice(name)])


@pytest.mark.gpu
def test_what_repeats_bit_for_bit(hopper_gpu: torch.device) -> None:
    qkv = tensors(8, THREE, VIEWS, 0, width=64, dtype=torch.bfloat16, device="cuda")
    out, _, dk, dv = run(qkv, THREE, VIEWS)
    again, _, dk_again, dv_again = run(qkv, THREE, VIEWS)
    assert torch.equal(out, again)
    assert torch.equal(dk, dk_again)
    assert torch.equal(dv, dv_again)
    torch.use_deterministic_algorithms(True)
    try:
        for a, b in zip(run(qkv, THREE, VIEWS), run(qkv, THREE, VIEWS), strict=True):
            assert torch.equal(a, b)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
def test_scales_of_any_sign(hopper_gpu: torch.device) -> None:
    qkv = tensors(2, THREE, VIEWS, 0, width=64, dtype=torch.float16, device="cuda")
    for scale in (-0.2, 0.0, 0.3):
        exact = run(double(qkv), THREE, VIEWS, backend="reference", scale=scale)
        # A class token's gradient adds up those of all queries, so that the largest result sets the scale.
        largest = max(b.norm() for b in exact)
        for mine, true in zip(run(qkv, THREE, VIEWS, scale=scale), exact, strict=True):
            assert (mine.double() - true).norm() <= 1.5e-3 * largest


@pytest.mark.gpu
def test_compiles_without_graph_breaks(hopper_gpu: torch.device) -> None:
    qkv = tensors(2, THREE, VIEWS, 0, width=64, dtype=torch.bfloat16, device="cuda")
    compiled = torch.compile(lambda q, k, v: view_attention(q, k, v, THREE, VIEWS), fullgraph=True)
    for mine, true in zip(
        torch.autograd.grad(compiled(*qkv).square().sum(), qkv),
        torch.autograd.grad(view_attention(*qkv, THREE, VIEWS).square().sum(), qkv),
        strict=True,
    ):
        torch.testing.assert_close(mine, true, atol=2e-2, rtol=2e-2)


def test_expanded_gradients_and_odd_strides_are_left_to_the_other_kernels() -> None:
    even = torch.zeros(2, 8, 3, 2, 64, dtype=torch.float16)[:, :, 0].transpose(1, 2)
    assert hopper._copied_in_bulk(even)
    assert not hopper._copied_in_bulk(torch.zeros((), dtype=torch.float16).expand(2, 2, 8, 64))
    assert not hopper._copied_in_bulk(torch.zeros(2, 2, 8, 68, dtype=torch.float16)[..., :64])
    assert not hopper._copied_in_bulk(torch.zeros(2 * 2 * 8 * 64 + 1, dtype=torch.float16)[1:].view(2, 2, 8, 64))


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.experimental.gluon import language as gl
from triton.experimental.gluon._runtime import GluonASTSource
from locomt.ops.hopper import backward as hopper_backward, forward as hopper_forward, launch as hopper

def build(kernel, constants, boxes, pointers):
    types = {}
    for name in kernel.arg_names:
        box = boxes.get(name)
        if name in constants:
            types[name] = "constexpr"
        elif box:
            kind, bits = ("bf16", 16) if len(box) == 4 else ("fp32", 32)
            layout = gl.NVMMASharedLayout(128 if bits == 16 else 0, bits, rank=len(box))
            types[name] = f"tensordesc<{kind}{list(box)},{layout!r}>"
        else:
            types[name] = pointers.get(name, "fp32" if "scale" in name else "i32")
    source = GluonASTSource(kernel, types, constexprs=constants)
    binary = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert binary.metadata.shared <= 232448, binary.metadata.shared  # what a program may have

words = {"table": "*i32", "order": "*i32", "counter": "*i32", "lengths": "*i64", "plan": "*i32"}
for width, shape in hopper.SHAPES.items():
    boxes = {f"{x}_desc": (1, 1, rows, width) for x, rows in (("q", 64), ("k", 128), ("v", 128))}
    constants = {"D": width, "MET": {64: 2, 128: 1}[width]}  # unrolled so many times
    constants |= {name.upper(): n for name, n in shape._asdict().items() if name != "tiles"}
    build(hopper_forward.forward_kernel, constants, boxes, words | {"OUT": "*bf16", "LSE": "*fp32"})
boxes = {f"{x}_desc": (1, 1, 64, 64) for x in "qkvg"} | {"s_desc": (128,)}
build(hopper_backward.backward_kernel, {}, boxes, words | {"sums": "*fp32", "DK": "*bf16", "DV": "*bf16"})
"""


def test_compiles_for_a_hopper_gpu(tmp_path: Path) -> None:
    """Without one: only whether Triton still understands the kernels, and their shared memory fits."""
    variables = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
