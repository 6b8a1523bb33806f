"""What backend `sdpa` makes of views: one call with a mask or those of the plan, and the output alone for inference."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from attention_problems import Problem, by_hand, problems, tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops import plan
from locomt.ops.sdpa import calls, parts
from locomt.ops.sdpa.dense import Kernel, kernel_for

Choose = Callable[[bool], None]
LAYOUT = TokenLayout({"v": 7, "a": 3})
VIEWS = LayerViews.parse("self:2 v~a:2 v>a:1 cls:1", ("v", "a"))
fixed = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fixed
@given(problem=problems())
def test_one_call_with_a_mask_equals_the_definition(one_call: Choose, problem: Problem) -> None:
    """Output and gradients, whatever the views, lengths and missing modalities; padded batches keep to their calls."""
    batch, layout, layer, lengths, on_missing, seed = problem
    q, k, v = tensors(batch, layout, layer, seed)
    grad = torch.randn(q.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = {}
    for name, masked in (("sdpa", True), ("reference", False)):
        one_call(masked)
        out = view_attention(q, k, v, layout, layer, lengths=lengths, on_missing=on_missing, backend=name)
        found[name] = (out, *torch.autograd.grad(out, (q, k, v), grad))
    torch.testing.assert_close(found["sdpa"], found["reference"], atol=1e-12, rtol=1e-9)


@fixed
@given(problem=problems())
@pytest.mark.parametrize("masked", [False, True])
def test_without_gradients_the_output_is_the_same(one_call: Choose, masked: bool, problem: Problem) -> None:
    """Its own operator, that leaves queries of padding as they are: they may hold anything too."""
    one_call(masked)
    batch, layout, layer, lengths, on_missing, seed = problem
    q, k, v = (tensor.detach() for tensor in tensors(batch, layout, layer, seed))
    expected = by_hand(q, k, v, layout, layer, lengths, on_missing)
    if lengths is not None:
        place = torch.cat([torch.arange(n) for n in layout.lengths])
        of = torch.cat([torch.full((n,), i) for i, n in enumerate(layout.lengths)])
        padding = (place >= lengths[:, of])[:, None, :, None]
        q, k, v = (torch.where(padding, torch.nan, tensor) for tensor in (q, k, v))
    with torch.inference_mode():
        out = view_attention(q, k, v, layout, layer, lengths=lengths, on_missing=on_missing, backend="sdpa")
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("masked", [False, True])
def test_how_many_calls_are_made(one_call: Choose, masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(q: torch.Tensor, biased: bool) -> Kernel:
        asked.append(biased)
        return kernel_for(q, biased)

    one_call(masked)
    monkeypatch.setattr(calls, "kernel_for", spy)
    qkv = tensors(2, LAYOUT, VIEWS, 0, dtype=torch.float32)
    view_attention(*qkv, LAYOUT, VIEWS, backend="sdpa")
    sizes, masks, _ = plan.segments(LAYOUT, VIEWS)
    assert asked == ([True] if masked else [False] * len(plan.plan_calls(tuple(sizes), tuple(masks))))


def test_a_mask_is_for_few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    parts._mask_pays.cache_clear()
    masks = LayerViews.parse("self:2 v~a:2", ("v", "a")).masks
    assert parts._mask_pays((40, 10), masks, 0, 32 * 64)
    assert parts._mask_pays((80, 20), masks, 0, 64)
    assert not parts._mask_pays((80, 20), masks, 0, 32 * 64)
    assert not parts._mask_pays((1569, 401), masks, 0, 64)
    assert not parts._mask_pays((7, 3), LayerViews.parse("multi:4", ("v", "a")).masks, 0, 64)  # it is one call


def test_lengths_of_a_batch_are_looked_at_once() -> None:
    """A division is kept by what the lengths are, so that one that changed in place is another."""
    parts._by_known_lengths.cache_clear()
    qkv, lengths = tensors(2, LAYOUT, VIEWS, 0), torch.tensor([[7, 3], [4, 0]])
    first = view_attention(*qkv, LAYOUT, VIEWS, lengths=lengths, backend="sdpa")
    view_attention(*qkv, LAYOUT, VIEWS, lengths=lengths.clone(), backend="sdpa")
    assert parts._by_known_lengths.cache_info().misses == 1
    lengths[1, 1] = 2
    other = view_attention(*qkv, LAYOUT, VIEWS, lengths=lengths, backend="sdpa")
    expected = view_attention(*qkv, LAYOUT, VIEWS, lengths=lengths, backend="reference")
    torch.testing.assert_close(other, expected)
    assert not torch.equal(first, other)


def test_a_mask_is_as_large_as_what_it_masks(one_call: Choose) -> None:
    """Of long samples of which few queries are read, not of all tokens with all tokens."""
    layout = TokenLayout({"v": 3000, "a": 2000})
    one_call(True)
    sizes, masks, _ = plan.segments(layout, VIEWS, queries=((0, 1), (0, 1)))
    (part,) = parts._masked(tuple(sizes), tuple(masks), 0, torch.float32).parts
    assert part.bias is not None
    assert part.bias.shape == (1, 6, 2, 5000)
