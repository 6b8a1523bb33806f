"""Every backend against the definition, and the properties that make the method what it is."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from attention_problems import Problem, by_hand, problems, tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops import api, backends, choose_backend, serving

BACKENDS = ("reference", "sdpa")
backend = pytest.mark.parametrize("backend", BACKENDS)


@backend
@settings(max_examples=40)
@given(problem=problems())
def test_equals_the_definition(backend: str, problem: Problem) -> None:
    batch, layout, layer, lengths, on_missing, seed = problem
    q, k, v = tensors(batch, layout, layer, seed)
    out = view_attention(q, k, v, layout, layer, lengths=lengths, on_missing=on_missing, backend=backend)
    torch.testing.assert_close(out, by_hand(q, k, v, layout, layer, lengths, on_missing), atol=1e-12, rtol=1e-10)


@settings(max_examples=60)
@given(problem=problems())
def test_gradients_equal_the_reference(problem: Problem) -> None:
    batch, layout, layer, lengths, on_missing, seed = problem
    qkv = tensors(batch, layout, layer, seed)
    grad = torch.randn(qkv[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    results = [
        torch.autograd.grad(
            view_attention(*qkv, layout, layer, lengths=lengths, on_missing=on_missing, backend=name), qkv, grad
        )
        for name in BACKENDS
    ]
    torch.testing.assert_close(results[1], results[0], atol=1e-12, rtol=1e-9)


@backend
@settings(max_examples=5)
@given(problem=problems(padded=True, most_modalities=3))
def test_gradcheck(backend: str, problem: Problem) -> None:
    batch, layout, layer, lengths, on_missing, seed = problem
    qkv = [t.detach().contiguous().requires_grad_() for t in tensors(batch, layout, layer, seed, width=2)]

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return view_attention(q, k, v, layout, layer, lengths=lengths, on_missing=on_missing, backend=backend)

    assert torch.autograd.gradcheck(attend, qkv)


@backend
@settings(max_examples=25)
@given(problem=problems(padded=True))
def test_padding_may_hold_anything(backend: str, problem: Problem) -> None:
    """NaN in the padding changes no output and no gradient; padding itself yields zeros and takes no gradient."""
    batch, layout, layer, lengths, on_missing, seed = problem
    clean = tensors(batch, layout, layer, seed)
    real = torch.cat([torch.arange(n) < lengths[:, i : i + 1] for i, n in enumerate(layout.lengths)], dim=1)
    poisoned = [t.detach().masked_fill(~real[:, None, :, None], float("nan")).requires_grad_() for t in clean]
    options = {"lengths": lengths, "on_missing": on_missing, "backend": backend}
    out, expected = (view_attention(*qkv, layout, layer, **options) for qkv in (poisoned, clean))
    torch.testing.assert_close(out, expected)
    assert not out.masked_select(~real[:, None, :, None]).any()
    grads = torch.autograd.grad(out.square().sum(), poisoned)
    torch.testing.assert_close(grads, torch.autograd.grad(expected.square().sum(), clean))
    for grad in grads:
        assert not grad.masked_select(~real[:, None, :, None]).any()


@backend
@settings(max_examples=25)
@given(problem=problems(padded=True))
def test_padded_equals_unpadded(backend: str, problem: Problem) -> None:
    """A padded sample gives what the same tokens give alone; a missing modality is one of length zero."""
    batch, layout, layer, lengths, on_missing, seed = problem
    qkv = tensors(batch, layout, layer, seed)
    out = view_attention(*qkv, layout, layer, lengths=lengths, on_missing=on_missing, backend=backend)
    for b in range(batch):
        short = TokenLayout(zip(layout.modalities, lengths[b].tolist(), strict=True), layout.class_tokens)
        places = [layout.offsets[i] + t for i, n in enumerate(short.lengths) for t in range(n)]
        alone = view_attention(
            *(t[b : b + 1, :, places] for t in qkv), short, layer, on_missing=on_missing, backend=backend
        )
        torch.testing.assert_close(out[b : b + 1, :, places], alone, atol=1e-12, rtol=1e-10)


@backend
@settings(max_examples=25)
@given(problem=problems(padded=False), data=st.data())
def test_a_head_ignores_the_modalities_that_its_view_leaves_out(
    backend: str, problem: Problem, data: st.DataObject
) -> None:
    batch, layout, layer, _, _, seed = problem
    q, k, v = tensors(batch, layout, layer, seed)
    changed = data.draw(st.sampled_from(layout.modalities))
    other = [t.detach().clone() for t in (q, k, v)]
    for t in other:
        t[:, :, layout.slice(changed)] += 1.5
    before, after = (view_attention(*qkv, layout, layer, backend=backend) for qkv in ((q, k, v), other))
    for h, view in enumerate(layer.heads):
        for i in layout.modalities:
            if i != changed and not view.sees(i, changed):
                assert torch.equal(before[:, h, layout.slice(i)], after[:, h, layout.slice(i)])


@backend
@given(m=st.integers(1, 4), seed=st.integers(0, 20))
@settings(max_examples=15)
def test_all_multi_is_dense_attention(backend: str, m: int, seed: int) -> None:
    names = ("a", "b", "c", "d")[:m]
    layout, layer = TokenLayout(dict.fromkeys(names, 3)), LayerViews.parse("multi:4", names)
    qkv = tensors(2, layout, layer, seed)
    out = view_attention(*qkv, layout, layer, scale=0.3, backend=backend)
    torch.testing.assert_close(out, scaled_dot_product_attention(*qkv, scale=0.3), atol=1e-12, rtol=1e-10)


def test_queries_without_keys_give_zeros_and_take_no_gradient() -> None:
    layout, layer = TokenLayout({"a": 3, "b": 2, "c": 4}), LayerViews.parse("a~b:2", ("a", "b", "c"))
    qkv = tensors(2, layout, layer, 0)
    for name in BACKENDS:
        out = view_attention(*qkv, layout, layer, backend=name)
        assert not out[:, :, layout.slice("c")].any()
        for grad in torch.autograd.grad(out.sum(), qkv):
            assert not grad[:, :, layout.slice("c")].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_as_good_as_dense_attention_in_it(dtype: torch.dtype) -> None:
    layout, layer = TokenLayout({"a": 70, "b": 33}), LayerViews.parse("self:2 a~b:2", ("a", "b"))
    qkv = tensors(2, layout, layer, 0, width=16, dtype=dtype)
    exact = view_attention(*(t.double() for t in qkv), layout, layer, backend="reference")
    error = (view_attention(*qkv, layout, layer, backend="sdpa").double() - exact).norm() / exact.norm()
    dense = scaled_dot_product_attention(*(t.double() for t in qkv))
    dense_error = (scaled_dot_product_attention(*qkv).double() - dense).norm() / dense.norm()
    assert error <= 1.1 * dense_error


def test_auto_says_what_it_takes_and_a_named_backend_never_falls_back() -> None:
    assert serving("cpu", torch.float32, 64) == ["sdpa", "reference"]
    assert serving("cpu", torch.int64, 64) == ["reference"]
    assert serving("cuda", torch.float64, 64) == ["reference"]
    assert set(backends()) == {"triton", "fa4", "sdpa", "reference"}
    layout, layer = TokenLayout({"a": 3}), LayerViews.parse("self:2", ("a",))
    q = torch.zeros(1, 2, 3, 4, dtype=torch.float8_e4m3fn)
    with pytest.raises(ValueError, match=r"'sdpa' cannot serve here.*float8"):
        view_attention(q, q, q, layout, layer, backend="sdpa")


@pytest.mark.parametrize(
    ("views", "batch", "width", "lengths", "gradients", "taken"),
    [
        ("self:2 a~b:2", 32, 64, None, True, "triton"),
        ("multi:4", 32, 64, None, True, "sdpa"),
        ("multi:4", 32, 64, None, False, "triton"),
        ("self:2 a~b:2", 32, 128, None, False, "sdpa"),
        ("self:2 a~b:2", 1, 128, None, False, "triton"),
        ("self:2 a~b:2", 32, 128, torch.tensor([[4096, 700]] * 32), False, "triton"),
    ],
)
def test_auto_takes_dense_kernels_for_few_large_calls(
    views: str,
    batch: int,
    width: int,
    lengths: torch.Tensor | None,
    gradients: bool,
    taken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api, "_serving", lambda *_: ["triton", "sdpa", "reference"])
    layout = TokenLayout({"a": 4096, "b": 1024})
    q = torch.empty(batch, 4, 5120, width, device="meta", dtype=torch.bfloat16, requires_grad=gradients)
    assert choose_backend(q, layout, LayerViews.parse(views, ("a", "b")), lengths) == taken


GOOD = {"layout": TokenLayout({"a": 3, "b": 2}), "views": LayerViews.parse("self:1 a~b:1", ("a", "b"))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": TokenLayout({"a": 3, "b": 3})}, r"layout .* has 6 tokens, q has 5"),
        ({"layout": TokenLayout({"b": 2, "a": 3})}, "give both in one order"),
        ({"views": LayerViews.parse("self:3", ("a", "b"))}, "views are for 3 heads, q has 2"),
        ({"lengths": torch.ones(2, 2)}, r"expected integer lengths .* = \[2, 2\], got torch.float32"),
        ({"lengths": torch.ones(2, 3, dtype=torch.int64)}, r"got torch.int64 \[2, 3\]"),
        ({"lengths": torch.tensor([[3, 2], [3, 4]])}, r"lengths\[1, 1\] is 4: modality 'b' has 0 to 2"),
        ({"backend": "cudnn"}, "expected auto, triton, fa4, sdpa, reference, got 'cudnn'"),
        ({"backend": "triton"}, "backend 'triton' cannot serve here: its kernels take bfloat16 and float16"),
        ({"on_missing": "skip"}, "expected one of zero, self, got 'skip'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    q = torch.zeros(2, 2, 5, 4)
    with pytest.raises(ValueError, match=message):
        view_attention(q, q, q, **(GOOD | change))


def test_mismatched_tensors_are_named() -> None:
    q = torch.zeros(2, 2, 5, 4)
    with pytest.raises(ValueError, match="of one shape"):
        view_attention(q, q[:, :, :4], q, **GOOD)
    with pytest.raises(ValueError, match="of one dtype"):
        view_attention(q, q.double(), q, **GOOD)
