"""FlashAttention-4's backward behind our forward: on a Hopper GPU with its kernels, elsewhere with a stand-in for them.

From what it is given the stand-in computes what they do, in torch, and writes it where they do.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings

from attention_problems import Problem, problems, tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops import api, backends, choose_backend
from locomt.ops.fa4 import installed, mixed
from locomt.ops.operator import lse_dtype, token_major
from locomt.ops.plan import segments
from locomt.ops.reference import reference_attention, visible
from locomt.ops.triton import fused

THREE = TokenLayout({"video": 401, "audio": 129, "text": 33})
VIEWS = LayerViews.parse("self:1 video~audio:2 multi:1 text>video:1 self:1", THREE.modalities)
NONE = (torch.device("cuda"), torch.bfloat16, 64)


def backward_of_one(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    grad: torch.Tensor,
    lse: torch.Tensor,
    softmax_scale: float,
    deterministic: bool,
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
) -> None:
    """Dense attention's gradients, `[B, tokens, heads, width]`, from the natural log-sum-exp `[B, heads, tokens]`."""
    assert lse.is_contiguous()
    p = torch.exp(torch.einsum("bqhd,bkhd->bhqk", q, k) * softmax_scale - lse[..., None])
    delta = (out * grad).sum(-1).transpose(1, 2)
    ds = p * (torch.einsum("bqhd,bkhd->bhqk", grad, v) - delta[..., None]) * softmax_scale
    for written, value in (
        (dq, torch.einsum("bhqk,bkhd->bqhd", ds, k)),
        (dk, torch.einsum("bhqk,bqhd->bkhd", ds, q)),
        (dv, torch.einsum("bhqk,bqhd->bkhd", p, grad)),
    ):
        assert written.isnan().all()  # nothing was written there before
        written.copy_(value)


def forward_in_base_two(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    layout: Sequence[int],
    masks: Sequence[int],
    lengths: torch.Tensor | None,
    scale: float,
    own: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the Triton kernel gives, in any dtype."""
    full = torch.tensor([list(layout)])
    scores = (q @ k.mT * scale).masked_fill(~visible(list(layout), masks, full, own), -math.inf)
    lse = scores.logsumexp(-1).to(lse_dtype(q.dtype)) / math.log(2)
    out = reference_attention(q, k, v, list(layout), masks, None, scale, own)
    return token_major(q).copy_(out), lse.masked_fill(lse == -math.inf, math.inf)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """flash-attn-4 as it looks where it is installed, on any device and in any dtype; unwritten memory is NaN."""
    monkeypatch.setattr(installed, "FOUND", installed.TESTED)
    monkeypatch.setattr(installed, "why_not", lambda *_: None)
    monkeypatch.setattr(installed, "backward", lambda: backward_of_one)
    monkeypatch.setattr(fused, "forward", forward_in_base_two)
    monkeypatch.setattr(mixed, "token_major", lambda like: token_major(like).fill_(math.nan))
    monkeypatch.setitem(api.BACKENDS, "fa4", api.BACKENDS["fa4"]._replace(why_not=lambda *_: None))


def run(qkv: list[torch.Tensor], layout: TokenLayout, layer: LayerViews, backend: str, **options: Any) -> Any:
    """The output and the gradients of q, k and v."""
    out = view_attention(*qkv, layout, layer, backend=backend, **options)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return [out, *torch.autograd.grad(out, qkv, grad.to(out))]


def slices_of(layout: TokenLayout, layer: LayerViews, on_missing: str = "zero") -> mixed.Slices | None:
    sizes, masks, _ = segments(layout, layer)
    return mixed.cut(tuple(sizes), tuple(masks), layer.parts if on_missing == "self" else 0)


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture])
@given(problem=problems(padded=False))
def test_equals_the_reference(stand_in: None, problem: Problem) -> None:
    batch, layout, layer, _, on_missing, seed = problem
    assume(slices_of(layout, layer, on_missing) is not None)
    qkv = tensors(batch, layout, layer, seed)
    found, exact = (run(qkv, layout, layer, name, on_missing=on_missing) for name in ("fa4", "reference"))
    for mine, true in zip(found, exact, strict=True):
        torch.testing.assert_close(mine, true, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("scale", [-0.3, 0.0, 0.2])
def test_where_only_some_rows_are_read(stand_in: None, scale: float) -> None:
    layout = TokenLayout({"video": 9, "audio": 6, "text": 4})
    layer = LayerViews.parse("self:1 video~audio:2 text>video:1 audio~text:1", layout.modalities)
    qkv = tensors(2, layout, layer, 0)
    options = {"queries": [(0, 1), (2, 5), (0, 0)], "scale": scale}
    for mine, true in zip(*(run(qkv, layout, layer, name, **options) for name in ("fa4", "reference")), strict=True):
        torch.testing.assert_close(mine, true, atol=1e-10, rtol=1e-10)


@settings(max_examples=100)
@given(problem=problems(padded=False, most_modalities=5))
def test_slices_are_the_views_and_no_key_is_in_two(problem: Problem) -> None:
    _, layout, layer, _, on_missing, _ = problem
    sizes, masks, _ = segments(layout, layer)
    own = layer.parts if on_missing == "self" else 0
    found = slices_of(layout, layer, on_missing)
    if 0 not in sizes:
        assert mixed._count(masks, len(sizes)) == (len(found.slices) if found else 0)
    simple = {"self", *(f"{a}{to}{b}" for a in layout.modalities for b in layout.modalities for to in "~>")}
    if layer.parts == 1 and {view.text for view in layer.heads} <= simple:
        assert found is not None
    if found is None:
        return
    seen = visible(sizes, masks, torch.tensor([sizes]), own)[0]
    rows, keys = torch.zeros(2, len(layer.heads), layout.total, dtype=torch.int64)
    left = seen.clone()
    for heads, queries, meets in found.slices:
        place = slice(*heads), slice(*queries), slice(*meets)
        assert left[place].all()
        left[place] = False
        rows[place[:2]] += 1
        keys[place[0], place[2]] += 1
    assert not left.any()
    for heads, tokens in found.idle_rows:
        rows[slice(*heads), slice(*tokens)] += 1
    for heads, tokens in found.idle_keys:
        keys[slice(*heads), slice(*tokens)] += 1
    assert (rows == 1).all()
    assert (keys == 1).all()


def test_what_it_does_not_cover_is_refused_by_name(stand_in: None) -> None:
    layout = TokenLayout({"a": 3, "b": 2, "c": 2})
    qkv = tensors(2, layout, LayerViews.parse("self:2", layout.modalities), 0)
    for views in ("cls:2", "self:1 cls:1"):
        with pytest.raises(ValueError, match=r"'fa4' takes views in which queries see one range of keys"):
            view_attention(*qkv, layout, LayerViews.parse(views, layout.modalities), backend="fa4")
    layer = LayerViews.parse("self:2", layout.modalities)
    with pytest.raises(ValueError, match="takes full samples, got lengths; backend='triton' takes padded ones"):
        view_attention(*qkv, layout, layer, lengths=torch.tensor([[3, 2, 1], [3, 2, 2]]), backend="fa4")
    full = view_attention(*qkv, layout, layer, lengths=torch.tensor([[3, 2, 2]] * 2), backend="fa4")
    assert torch.equal(full, view_attention(*qkv, layout, layer, backend="fa4"))


@pytest.mark.parametrize(
    ("found", "generation", "dtype", "width", "reason"),
    [
        (None, 9, torch.bfloat16, 64, r"not installed \(pip install 'locomt\[fa4\]'\)"),
        ("4.0.0b99", 9, torch.bfloat16, 64, f"4.0.0b99 is installed, tested is {installed.TESTED}"),
        (installed.TESTED, 9, torch.bfloat16, 96, "tested with head widths 64 and 128, not 96"),
        (installed.TESTED, 10, torch.bfloat16, 64, "tested on Hopper GPUs alone"),
        (installed.TESTED, 9, torch.float32, 64, "the forward pass is that of 'triton', and its kernels take bfloat16"),
        (installed.TESTED, 9, torch.bfloat16, 64, "does not load: ImportError: libcuda.so.1 is not there"),
    ],
)
def test_why_it_does_not_serve(
    found: str | None, generation: int, dtype: torch.dtype, width: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise ImportError("libcuda.so.1\nis not there")

    installed._broken.cache_clear()
    monkeypatch.setattr(installed, "FOUND", found)
    monkeypatch.setattr(installed, "generation", lambda device: generation)
    monkeypatch.setattr(installed, "backward", fails)
    monkeypatch.setattr(fused, "INSTALLED", True)
    monkeypatch.setattr(fused, "INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (generation, 0))
    try:
        assert re.search(reason, installed.why_not(torch.device("cuda"), dtype, width) or "")
    finally:
        installed._broken.cache_clear()


@pytest.mark.parametrize("loads", [True, False])
def test_whether_it_loads_can_be_asked_in_a_compiled_graph(loads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    installed._broken.cache_clear()

    def backward() -> object:
        torch._dynamo.graph_break()  # what a compiler meets that looks inside
        if not loads:
            raise ImportError("no")
        return backward_of_one

    monkeypatch.setattr(installed, "FOUND", installed.TESTED)
    monkeypatch.setattr(installed, "backward", backward)
    monkeypatch.setattr(fused, "INSTALLED", True)
    monkeypatch.setattr(fused, "INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))

    @torch.compile(fullgraph=True, backend="eager")
    def ask(x: torch.Tensor) -> tuple[torch.Tensor, str | None]:
        return x + 1, installed.why_not(*NONE)

    try:
        assert (ask(torch.zeros(2))[1] is None) == loads
    finally:
        installed._broken.cache_clear()


def test_asked_for_by_name_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "FOUND", None)
    q = torch.zeros(1, 1, 3, 64)
    layer = LayerViews.parse("self:1", ("a",))
    with pytest.raises(ValueError, match=r"backend 'fa4' cannot serve here: flash-attn-4 is not installed"):
        view_attention(q, q, q, TokenLayout({"a": 3}), layer, backend="fa4")
    assert "pip install" in (backends()["fa4"] or "")


AV = TokenLayout({"video": 1569, "audio": 401})


@pytest.mark.parametrize(
    ("views", "batch", "width", "lengths", "gradients", "taken"),
    [
        ("self:12", 32, 64, None, True, "fa4"),
        ("multi:12", 32, 64, None, True, "fa4"),
        ("self:6 video~audio:6", 32, 64, None, True, "other"),  # twice as many slices, half as large
        ("self:6 video~audio:6", 32, 128, None, True, "fa4"),
        ("self:6 video~audio:6", 2, 128, None, True, "other"),
        ("self:12", 32, 96, None, True, "other"),
        ("self:12", 32, 64, None, False, "other"),
        ("self:12", 4, 64, None, True, "other"),
        ("self:12", 32, 64, torch.tensor([[1569, 300]] * 32), True, "other"),
        ("multi:6 cls:6", 128, 64, None, True, "other"),
    ],
)
def test_auto_takes_it_where_slices_are_large_in_training(
    views: str,
    batch: int,
    width: int,
    lengths: torch.Tensor | None,
    gradients: bool,
    taken: str,
    stand_in: None,
) -> None:
    q = torch.empty(batch, 12, AV.total, width, device="meta", dtype=torch.bfloat16, requires_grad=gradients)
    layer = LayerViews.parse(views, AV.modalities)
    chosen = choose_backend(q, AV, layer, lengths)
    assert (chosen == "fa4") == (taken == "fa4")
    torch.use_deterministic_algorithms(True)
    try:
        assert choose_backend(q, AV, layer, lengths) != "fa4"
    finally:
        torch.use_deterministic_algorithms(False)


def test_auto_can_choose_in_a_compiled_graph(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(mixed, "LEAST", {8: 0.0})
    layout = TokenLayout({"video": 9, "audio": 6, "text": 4})
    qkv = tensors(2, layout, VIEWS, 0)
    calls = []
    monkeypatch.setattr(installed, "backward", lambda: calls.append(1) or backward_of_one)
    compiled = torch.compile(
        lambda q, k, v: view_attention(q, k, v, layout, VIEWS), fullgraph=True, backend="aot_eager"
    )
    found = torch.autograd.grad(compiled(*qkv).square().sum(), qkv)
    assert calls
    exact = torch.autograd.grad(view_attention(*qkv, layout, VIEWS, backend="reference").square().sum(), qkv)
    torch.testing.assert_close(found, exact, atol=1e-10, rtol=1e-10)


@pytest.fixture
def hopper_gpu() -> None:
    if reason := installed.why_not(*NONE):
        pytest.skip(reason)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # its compiler warns
@pytest.mark.parametrize(("width", "dtype"), [(64, torch.bfloat16), (128, torch.bfloat16), (64, torch.float16)])
def test_error_is_that_of_torch(width: int, dtype: torch.dtype, hopper_gpu: None) -> None:
    qkv = tensors(3, THREE, VIEWS, 0, width=width, dtype=dtype, device="cuda")
    double = [t.detach().double().requires_grad_() for t in qkv]
    exact = run(double, THREE, VIEWS, "reference")
    torch.empty(2**28, device="cuda").fill_(math.nan)  # what is allocated next is likely to hold NaN
    mine, dense = (run(qkv, THREE, VIEWS, name) for name in ("fa4", "sdpa"))
    for a, b, true in zip(mine, dense, exact, strict=True):
        assert (a.double() - true).norm() <= 1.1 * (b.double() - true).norm()
    nothing = [t[:, 4, THREE.slice("video")] for t in mine[:1]] + [t[:, 4, THREE.slice("text")] for t in mine[2:]]
    assert not any(t.any() for t in nothing)  # of text>video: queries of video see nothing, nothing sees text


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("way", ["graph", "compiled"])
def test_gradients_in_a_cuda_graph_and_compiled(way: str, hopper_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "LEAST", {64: 0.0})
    qkv = tensors(2, THREE, VIEWS, 0, width=64, dtype=torch.bfloat16, device="cuda")
    assert choose_backend(qkv[0], THREE, VIEWS) == "fa4"
    grad = torch.randn_like(qkv[0])

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return view_attention(q, k, v, THREE, VIEWS)

    def both(attend: Callable[..., torch.Tensor] = attend) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(attend(*qkv), qkv, grad)

    expected = both()
    if way == "compiled":
        found = both(torch.compile(attend, fullgraph=True))
    else:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            both()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = both()
        for tensor in found:
            tensor.fill_(math.nan)
        graph.replay()
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=2e-2)
