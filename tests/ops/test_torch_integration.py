"""compile, export, autocast, torch.func and the FLOP counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attention_problems import tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops.plan import plan_calls, segments
from locomt.ops.sdpa import calls as sdpa
from locomt.ops.sdpa.dense import Kernel, kernel_for

LAYOUT = TokenLayout({"v": 7, "a": 3})
LAYER = LayerViews.parse("self:2 v~a:2", ("v", "a"))
LENGTHS = torch.tensor([[7, 3], [5, 0]])


@pytest.fixture
def qkv() -> list[torch.Tensor]:
    return tensors(2, LAYOUT, LAYER, 0, dtype=torch.float32)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
    return view_attention(q, k, v, LAYOUT, LAYER, lengths=lengths)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_compiles_without_graph_breaks(qkv: list[torch.Tensor], lengths: torch.Tensor | None) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")
    out, expected = compiled(*qkv, lengths), attend(*qkv, lengths)
    torch.testing.assert_close(out, expected)
    grads, expected_grads = (torch.autograd.grad(o.square().sum(), qkv) for o in (out, expected))
    torch.testing.assert_close(grads, expected_grads)


def test_compiles_where_the_layout_is_made_inside(qkv: list[torch.Tensor]) -> None:
    torch._dynamo.reset()

    def inside(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        layout = TokenLayout({"v": q.shape[2] - 3, "a": 3})
        return view_attention(q, k, v, layout, LayerViews.parse("self:2 v~a:2", ("v", "a")))

    torch.testing.assert_close(torch.compile(inside, fullgraph=True, backend="aot_eager")(*qkv), attend(*qkv))


@pytest.mark.parametrize("on_missing", ["zero", "self"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_exports_to_torchs_own_operators(
    qkv: list[torch.Tensor], lengths: torch.Tensor | None, on_missing: str
) -> None:
    layout = TokenLayout({"v": 7, "a": 3, "t": 0})
    layer = LayerViews.parse("v~t:1 self:1 v~a:1 multi:1", ("v", "a", "t"))
    lengths = None if lengths is None else torch.cat([lengths, torch.zeros(2, 1, dtype=torch.int64)], dim=1)

    class Model(torch.nn.Module):
        def forward(
            self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor | None
        ) -> torch.Tensor:
            return view_attention(q, k, v, layout, layer, lengths=lengths, on_missing=on_missing)

    inputs = (*(t.detach() for t in qkv), lengths)
    program = torch.export.export(Model(), inputs)
    assert not [node for node in program.graph.nodes if "locomt" in str(node.target)]
    torch.testing.assert_close(program.module()(*inputs), Model()(*inputs))


def test_autocast_casts_like_attention_does(qkv: list[torch.Tensor]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend(*qkv)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, attend(*(t.bfloat16() for t in qkv)))
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(out.float().sum(), qkv))


def test_func_grad_and_vmap_and_per_sample_gradients(qkv: list[torch.Tensor]) -> None:
    def loss(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return attend(q, k, v).square().sum()

    expected = torch.autograd.grad(loss(*qkv), qkv)
    plain = [t.detach() for t in qkv]
    torch.testing.assert_close(torch.func.grad(loss, argnums=(0, 1, 2))(*plain), expected)
    stacked = [torch.stack([t, t * 0.5, t + 1]) for t in plain]
    out = torch.func.vmap(lambda q, k, v: attend(q, k, v, LENGTHS))(*stacked)
    torch.testing.assert_close(out[1], attend(*(t[1] for t in stacked), LENGTHS))
    per_sample = torch.func.vmap(torch.func.grad(loss, argnums=(0, 1, 2)))(*stacked)
    torch.testing.assert_close([g[0] for g in per_sample], list(expected))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_class_tokens_are_told_apart_in_graphs_too(qkv: list[torch.Tensor], lengths: torch.Tensor | None) -> None:
    torch._dynamo.reset()
    layout = TokenLayout({"v": 7, "a": 3}, {"v": 2})
    layer = LayerViews.parse("cls:2 v~a:1 self:1", ("v", "a"))

    class Model(torch.nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, n: torch.Tensor | None) -> torch.Tensor:
            return view_attention(q, k, v, layout, layer, lengths=n, on_missing="self")

    inputs = (*(t.detach() for t in qkv), lengths)
    expected = view_attention(*inputs[:3], layout, layer, lengths=lengths, on_missing="self", backend="reference")
    torch.testing.assert_close(torch.compile(Model(), fullgraph=True, backend="aot_eager")(*inputs), expected)
    program = torch.export.export(Model(), inputs)
    assert not [node for node in program.graph.nodes if "locomt" in str(node.target)]
    torch.testing.assert_close(program.module()(*inputs), expected)


def test_second_derivatives_are_refused_not_wrong(qkv: list[torch.Tensor]) -> None:
    (grad,) = torch.autograd.grad(attend(*qkv).square().sum(), qkv[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="backend='reference'"):
        grad.sum().backward()


def test_flop_counter_is_told_the_true_cost(qkv: list[torch.Tensor]) -> None:
    cost = 2 * (49 + 9) + 2 * (2 * 21)
    with FlopCounterMode(display=False) as counter:
        out = attend(*qkv)
    assert counter.get_total_flops() == 4 * 2 * 8 * cost
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 10 * 2 * 8 * cost


def test_operators_pass_torchs_own_checks(qkv: list[torch.Tensor]) -> None:
    q, k, v = (t.detach() for t in qkv)
    options = (list(LAYOUT.lengths), list(LAYER.masks), LENGTHS, 0.3, 1)
    checks = ("test_schema", "test_faketensor")
    for name in ("sdpa_view_attention", "sdpa_view_attention_answer"):
        torch.library.opcheck(getattr(torch.ops.locomt, name), (q, k, v, *options), test_utils=checks)
    out, lse = torch.ops.locomt.sdpa_view_attention(q, k, v, *options)
    arguments = (torch.randn_like(out), q, k, v, out, lse, *options)
    torch.library.opcheck(torch.ops.locomt.sdpa_view_attention_backward, arguments, test_utils=checks)


def test_full_lengths_take_the_path_without_masks(qkv: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(q: torch.Tensor, biased: bool) -> Kernel:
        asked.append(biased)
        return kernel_for(q, biased)

    monkeypatch.setattr(sdpa, "kernel_for", spy)
    attend(*qkv, torch.tensor([[7, 3], [7, 3]]))
    assert asked == [False] * 4
    attend(*qkv, LENGTHS)
    assert asked[4:] == [True] * 4


def test_all_queries_of_a_class_token_head_share_a_call() -> None:
    layer = LayerViews.parse("cls:2 self:1", ("a", "b"))
    sizes, masks, _ = segments(TokenLayout({"a": 4, "b": 2}), layer)
    calls = plan_calls(tuple(sizes), tuple(masks), own=layer.parts)
    assert [(c.heads, c.queries, c.keys) for c in calls] == [
        ((0, 2), (0, 1, 2, 3), (0, 2)),
        ((2, 3), (0, 1), (0, 1)),
        ((2, 3), (2, 3), (2, 3)),
    ]


def test_plan_shares_calls_between_neighbouring_heads_and_modalities() -> None:
    layer = LayerViews.parse("self:2 multi:1 a>c:3", ("a", "b", "c"))
    calls = plan_calls((4, 0, 2), layer.masks)
    assert [(c.heads, c.queries, c.keys) for c in calls] == [
        ((0, 2), (0,), (0,)),
        ((0, 2), (2,), (2,)),
        ((2, 3), (0, 2), (0, 2)),
        ((3, 6), (0,), (2,)),
    ]
