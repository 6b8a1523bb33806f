"""Attention of some rows alone, and the pieces that q, k and v are put together from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from attention_problems import Problem, problems, seen, tensors
from locomt import LayerViews, TokenLayout, view_attention
from locomt.ops import pieces as module
from locomt.ops.pieces import Piece, Places, put, take


@settings(max_examples=60)
@given(st.data(), problems(), st.sampled_from(("reference", "sdpa")))
def test_rows_that_are_read_are_as_if_all_were(data: st.DataObject, problem: Problem, backend: str) -> None:
    batch, layout, layer, lengths, on_missing, seed = problem
    queries = [tuple(sorted(data.draw(st.integers(0, n)) for _ in range(2))) for n in layout.lengths]
    read = torch.cat(
        [torch.zeros(n).index_fill(0, torch.arange(*rows), 1) for n, rows in zip(layout.lengths, queries, strict=True)]
    )
    q, k, v = tensors(batch, layout, layer, seed)
    options = {"lengths": lengths, "on_missing": on_missing}
    out = view_attention(q, k, v, layout, layer, queries=queries, backend=backend, **options)  # type: ignore[arg-type]
    expected = view_attention(q, k, v, layout, layer, backend="reference", **options) * read[:, None]  # type: ignore[arg-type]
    torch.testing.assert_close(out, expected)
    assert not out[:, :, read == 0].any()
    grad = torch.randn_like(out)
    found = torch.autograd.grad(out, (q, k, v), grad)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (q, k, v), grad))


@given(st.data(), problems(padded=False))
def test_rows_that_nobody_reads_cost_nothing(data: st.DataObject, problem: Problem) -> None:
    batch, layout, layer, _, on_missing, seed = problem
    queries = [tuple(sorted(data.draw(st.integers(0, n)) for _ in range(2))) for n in layout.lengths]
    read = torch.cat(
        [torch.zeros(n).index_fill(0, torch.arange(*rows), 1) for n, rows in zip(layout.lengths, queries, strict=True)]
    )
    q, k, v = tensors(batch, layout, layer, seed)
    with FlopCounterMode(display=False) as counter:
        view_attention(q, k, v, layout, layer, queries=queries, on_missing=on_missing, backend="sdpa")
    pairs = seen(layout, layer, None, on_missing, batch)[:, :, read.bool()].sum()
    assert counter.get_total_flops() == 4 * q.shape[-1] * int(pairs)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([(0, 2)], "queries of each of a, b, got 1 ranges"),
        ([(0, 4), (0, 3)], "queries of modality 'b': expected rows 0 to 2, got 0 to 3"),
        ([(3, 2), (0, 2)], "queries of modality 'a': expected rows 0 to 4, got 3 to 2"),
    ],
)
def test_rows_that_are_not_there_are_refused(queries: list[tuple[int, int]], message: str) -> None:
    layout, layer = TokenLayout({"a": 4, "b": 2}), LayerViews.parse("self:1", ("a", "b"))
    q = torch.zeros(1, 1, 6, 4)
    with pytest.raises(ValueError, match=message):
        view_attention(q, q, q, layout, layer, queries=queries)


# Of tensors with 5 tokens and 3 heads: heads 1 to 4 of tokens 1 to 4 (the last in the second tensor), head 5 of the
# first token, nothing else.
PLACES = Places(
    (Piece((1, 4), ((1, 2), (2, 4))), Piece((0, 1), ((5, 6),))),
    (
        Piece((0, 5), ((0, 1),)),
        Piece((0, 1), ((1, 4),)),
        Piece((4, 5), ((1, 4),)),
        Piece((0, 5), ((4, 5),)),
        Piece((1, 5), ((5, 6),)),
    ),
    tensors=2,
    tokens=5,
    heads=3,
)


def some_pieces() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 3, 4), (2, 1, 1, 4))
    return [torch.randn(s, dtype=torch.float64, generator=generator, requires_grad=True) for s in shapes]


@pytest.mark.parametrize("compiling", [False, True])
def test_pieces_are_put_where_they_belong_and_taken_from_there(
    monkeypatch: pytest.MonkeyPatch, compiling: bool
) -> None:
    monkeypatch.setattr(module.torch.compiler, "is_compiling", lambda: compiling)
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda t, *shape: t.new_full(shape, torch.nan))  # unwritten shows
    first, second = some_pieces()
    tensors = put(PLACES, (first, second))
    whole = torch.zeros(2, 5, 6, 4, dtype=torch.float64)
    whole[:, 1:4, 1:4], whole[:, 0:1, 5:6] = first, second
    torch.testing.assert_close(torch.cat(tensors, dim=2), whole)
    again = take(PLACES, tensors)
    torch.testing.assert_close(again, (first, second))
    grads = [torch.randn_like(t) for t in again]
    torch.testing.assert_close(torch.autograd.grad(again, (first, second), grads), tuple(grads))


def test_gradients_of_all_orders() -> None:
    def roundabout(*pieces: torch.Tensor) -> torch.Tensor:
        a, b = put(PLACES, pieces)
        return torch.cat([t.flatten() for t in take(PLACES, (a * b, a**2))])

    assert torch.autograd.gradcheck(roundabout, some_pieces())
    assert torch.autograd.gradgradcheck(roundabout, some_pieces())


def test_samples_may_be_mapped_over() -> None:
    first, second = some_pieces()

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return sum(t.square().sum() for t in take(PLACES, put(PLACES, (a[None], b[None]))))  # type: ignore[return-value]

    found = torch.func.vmap(torch.func.grad(loss))(first, second)
    torch.testing.assert_close(found, 2 * first)
