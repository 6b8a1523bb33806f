"""The Triton kernels: on a CUDA device as they are, elsewhere through Triton's interpreter, in float16."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from attention_problems import Problem, problems, seen, tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops.api import choose_backend
from locomt.ops.plan import segments
from locomt.ops.triton import fused
from locomt.ops.worktable import work_rows
from locomt.views.segments import score_pairs

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = fused.Tiling(rows=16, block=32, tail=16, warps=4, stages=2)
SIZES = (0, 1, 5, 15, 16, 17, 31, 33, 49, 66)
THREE = TokenLayout({"video": 49, "audio": 17, "text": 5})
VIEWS = LayerViews.parse("self:1 video~audio:1 text>video:1 multi:1", THREE.modalities)


@pytest.fixture(autouse=True, scope="module")
def unchecked() -> Iterator[None]:
    """The interpreter does not compute whether integers overflow, a third of its work, of which it tells nobody."""
    from triton.runtime.interpreter import interpreter_builder

    before = interpreter_builder.options
    assert not before.debug  # only then would it tell
    interpreter_builder.options = replace(before, sanitize_overflow=False)
    yield
    interpreter_builder.options = before


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles so small that a few tokens need several of them."""
    monkeypatch.setattr(fused, "TILINGS", {name: {64: SMALL, 128: SMALL} for name in fused.TILINGS})


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that nothing was written to holds NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def run(
    qkv: list[torch.Tensor],
    layout: TokenLayout,
    layer: LayerViews,
    backend: str = "triton",
    grad_seed: int = 1,
    **options: Any,
) -> list[torch.Tensor]:
    """The output and the gradients of q, k and v."""
    out = view_attention(*qkv, layout, layer, backend=backend, **options)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(grad_seed))
    return [out, *torch.autograd.grad(out, qkv, grad.to(out))]


def double(qkv: list[torch.Tensor]) -> list[torch.Tensor]:
    return [t.detach().double().requires_grad_() for t in qkv]


def errors(results: Iterable[torch.Tensor], exact: Iterable[torch.Tensor]) -> list[float]:
    return [
        float(((a.double() - b).norm() / b.norm().clamp(min=1e-30)).detach())
        for a, b in zip(results, exact, strict=True)
    ]


@settings(max_examples=60 if DEVICE == "cuda" else 12)  # the interpreter takes seconds for a large one
@given(
    problem=problems(most_modalities=5, sizes=SIZES)
    if DEVICE == "cuda"
    else problems(most_modalities=3, sizes=SIZES, most_heads=2, most_samples=2)
)
def test_equals_the_reference(problem: Problem) -> None:
    batch, layout, layer, lengths, on_missing, seed = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "TILINGS", {name: {64: SMALL, 128: SMALL} for name in fused.TILINGS})
        qkv = tensors(batch, layout, layer, seed, width=16, dtype=torch.float16, device=DEVICE)
        options = {"lengths": lengths, "on_missing": on_missing}
        found = run(qkv, layout, layer, **options)
        exact = run(double(qkv), layout, layer, backend="reference", **options)
    # Gradients can cancel to nothing, where a query sees one key alone: so the largest result sets the scale.
    scale = max(b.norm() for b in exact)
    assert all((a.double() - b).norm() <= 1.5e-3 * scale for a, b in zip(found, exact, strict=True))
    sees = seen(layout, layer, lengths, on_missing, batch).to(DEVICE)
    for result, used in zip(found, (sees.any(3), sees.any(3), sees.any(2), sees.any(2)), strict=True):
        assert not result[~used].any()


@pytest.mark.parametrize(
    ("width", "lengths"),
    [(32, None), (64, [[33, 0, 1]]), (80, None), (96, [[33, 0, 1]]), (128, None), (128, [[33, 0, 1]])],
)
def test_every_head_width(width: int, lengths: list[list[int]] | None, poisoned: None) -> None:
    lengths = None if lengths is None else torch.tensor(lengths)
    qkv = tensors(1, THREE, VIEWS, 0, width=width, dtype=torch.float16, device=DEVICE)
    found = run(qkv, THREE, VIEWS, lengths=lengths)
    exact = run(double(qkv), THREE, VIEWS, backend="reference", lengths=lengths)
    torch_s = run(qkv, THREE, VIEWS, backend="sdpa", lengths=lengths)
    for mine, dense in zip(errors(found, exact), errors(torch_s, exact), strict=True):
        assert mine <= 1.1 * dense


def test_padding_may_hold_anything(small_tiles: None, poisoned: None) -> None:
    lengths = torch.tensor([[20, 3, 0], [0, 17, 1]])
    layer = LayerViews.parse("video~audio:1 multi:1", THREE.modalities)
    clean = tensors(2, THREE, layer, 0, width=16, dtype=torch.float16, device=DEVICE)
    real = torch.cat([torch.arange(n) < lengths[:, i : i + 1] for i, n in enumerate(THREE.lengths)], dim=1).to(DEVICE)
    nan = [t.detach().masked_fill(~real[:, None, :, None], float("nan")).requires_grad_() for t in clean]
    for a, b in zip(*(run(qkv, THREE, layer, lengths=lengths) for qkv in (nan, clean)), strict=True):
        assert torch.equal(a, b)
        assert not a.masked_select(~real[:, None, :, None]).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter's numpy, about the NaN
def test_other_modalities_may_hold_anything(small_tiles: None) -> None:
    """A block past a modality's end would read its neighbour, and 0 * NaN is NaN."""
    layer = LayerViews.parse("self:2", THREE.modalities)
    qkv = tensors(1, THREE, layer, 0, width=16, dtype=torch.float16, device=DEVICE)
    poisoned = [t.detach().clone() for t in qkv]
    for t in poisoned:
        t[:, :, THREE.slice("audio")] = float("nan")
    outs = [view_attention(*ts, THREE, layer, backend="triton") for ts in (qkv, poisoned)]
    for name in ("video", "text"):
        assert torch.equal(outs[0][:, :, THREE.slice(name)], outs[1][:, :, THREE.slice(name)])


def test_two_runs_agree_bit_for_bit() -> None:
    qkv = tensors(1, THREE, VIEWS, 0, width=32, dtype=torch.float16, device=DEVICE)
    for a, b in zip(run(qkv, THREE, VIEWS), run(qkv, THREE, VIEWS), strict=True):
        assert torch.equal(a, b)


def test_any_strides_and_a_negative_scale() -> None:
    layer = LayerViews.parse("text>video:1 multi:1", THREE.modalities)
    qkv = tensors(1, THREE, layer, 0, width=16, dtype=torch.float16, device=DEVICE)
    exact = run(double(qkv), THREE, layer, backend="reference", scale=-0.2)
    columns = [t.detach().mT.contiguous().mT.requires_grad_() for t in qkv]
    for strided in (qkv, [t.detach().contiguous().requires_grad_() for t in qkv], columns):
        assert max(errors(run(strided, THREE, layer, scale=-0.2), exact)) < 1.5e-3
    out = view_attention(*qkv, THREE, layer, backend="triton")
    torch.autograd.grad(out.sum(), qkv)  # an expanded gradient, all of whose strides are 0


def test_a_scale_of_zero_weighs_all_keys_alike() -> None:
    layer = LayerViews.parse("cls:1 multi:1", THREE.modalities)
    qkv = tensors(1, THREE, layer, 0, width=16, dtype=torch.float16, device=DEVICE)
    exact = run(double(qkv), THREE, layer, backend="reference", scale=0.0)
    for mine, true in zip(run(qkv, THREE, layer, scale=0.0), exact, strict=True):
        torch.testing.assert_close(mine.double(), true, atol=1e-3, rtol=1e-3)


def test_projections_are_read_where_they_lie() -> None:
    for t in tensors(2, THREE, VIEWS, 0, width=16, dtype=torch.float16):
        assert not t.is_contiguous()
        assert fused._dense_rows(t) is t


def test_no_tokens_no_work() -> None:
    layout = TokenLayout({"video": 0, "audio": 0})
    layer = LayerViews.parse("multi:2", layout.modalities)
    q = torch.zeros(2, 2, 0, 16, dtype=torch.float16, device=DEVICE)
    assert view_attention(q, q, q, layout, layer, backend="triton").shape == q.shape


def test_layers_of_more_segments_than_its_masks_have_bits_are_left_to_others() -> None:
    layout = TokenLayout({f"m{n}": 2 for n in range(16)})
    few, many = (LayerViews.parse(text, layout.modalities) for text in ("self:1", "cls:1"))  # 16 and 32 segments
    q = torch.randn(1, 1, layout.total, 16, dtype=torch.float16, device=DEVICE)
    exact = view_attention(q, q, q, layout, few, backend="reference")
    torch.testing.assert_close(view_attention(q, q, q, layout, few, backend="triton"), exact, atol=2e-3, rtol=2e-3)
    with pytest.raises(ValueError, match="its kernels tell 31 segments of tokens apart, not 32"):
        view_attention(q, q, q, layout, many, backend="triton")
    assert choose_backend(q, layout, many) == "sdpa"


@pytest.mark.parametrize("by_key", [False, True])
@settings(max_examples=30)
@given(problem=problems(padded=False, most_modalities=5, sizes=SIZES))
def test_work_is_what_the_views_need(by_key: bool, problem: Problem) -> None:
    """Summed over all tiles, tokens times met tokens are the score pairs of the views."""
    _, layout, layer, _, on_missing, _ = problem
    sizes, masks, _ = segments(layout, layer)
    own = layer.parts if on_missing == "self" else 0
    rows = [row for head in work_rows(sizes, masks, 16, by_key, own) for row in head]
    pairs = sum(min(16, size - first) * sum(met[2::3][:count]) for _, first, _, size, _, count, *met in rows)
    assert pairs == score_pairs(sizes, masks, own)


def test_log_sum_exp_is_in_base_two() -> None:
    """What the backward relies on, and what a reader of the kernels is told."""
    layer = LayerViews.parse("video>audio:1", THREE.modalities)
    q, k, v = (t.detach() for t in tensors(1, THREE, layer, 0, width=16, dtype=torch.float16, device=DEVICE))
    _, lse = torch.ops.locomt.triton_view_attention(q, k, v, list(THREE.lengths), list(layer.masks), None, 0.25, 0)
    scores = q.double()[:, :, THREE.slice("video")] @ k.double()[:, :, THREE.slice("audio")].mT * 0.25
    torch.testing.assert_close(
        lse[:, :, THREE.slice("video")].double(), scores.logsumexp(-1) / torch.log(torch.tensor(2.0)), atol=1e-5, rtol=0
    )
    assert lse[:, :, THREE.slice("text")].isinf().all()


@pytest.mark.parametrize(("generation", "reason"), [(9, None), (7, "its kernels need an Ampere GPU or a newer one")])
def test_whether_it_serves_can_be_asked_in_a_compiled_graph(
    generation: int, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(fused, "INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (generation, 0))

    @torch.compile(fullgraph=True, backend="eager")
    def ask(x: torch.Tensor) -> tuple[torch.Tensor, str | None]:
        return x + 1, fused.why_not(torch.device("cuda"), torch.bfloat16, 64)

    assert ask(torch.zeros(2))[1] == reason
