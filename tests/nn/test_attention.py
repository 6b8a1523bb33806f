"""ViewAttention alone in somebody else's model, and the order of its heads."""

from typing import Any

import pytest
import torch

from locomt import LayerViews, TokenLayout, ViewAttention, view_attention

LAYOUT = TokenLayout({"video": 5, "audio": 3})
SCATTERED = "self:1 video~audio:1 self:1 video~audio:1"


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shared_weights", [True, False])
def test_is_projection_view_attention_projection_in_table_order(x: torch.Tensor, shared_weights: bool) -> None:
    """Computed from the checkpoint alone, which keeps the order of the table."""
    attention = ViewAttention(16, SCATTERED, layout=LAYOUT, shared_weights=shared_weights).double()
    state = attention.state_dict()

    def project(part: str, tokens: torch.Tensor, name: str) -> torch.Tensor:
        name = "shared" if shared_weights else name
        return tokens @ state[f"{part}.{name}.weight"].T + state[f"{part}.{name}.bias"]

    parts = zip(LAYOUT.modalities, x.split(LAYOUT.lengths, dim=1), strict=True)
    qkv = torch.cat([project("qkv", tokens, name) for name, tokens in parts], dim=1)
    q, k, v = qkv.view(2, 8, 3, 4, 4).permute(2, 0, 3, 1, 4)
    views = LayerViews.parse(SCATTERED, LAYOUT.modalities)
    heads = view_attention(q, k, v, LAYOUT, views, backend="reference").transpose(1, 2).flatten(2)
    parts = zip(LAYOUT.modalities, heads.split(LAYOUT.lengths, dim=1), strict=True)
    expected = torch.cat([project("out", tokens, name) for name, tokens in parts], dim=1)
    torch.testing.assert_close(attention(x), expected)
    assert str(attention.views) == SCATTERED


def test_checkpoints_move_between_orders(x: torch.Tensor) -> None:
    """The same heads in another order of the table are the same function once their weights are permuted."""
    scattered = ViewAttention(16, SCATTERED, layout=LAYOUT).double()
    again = ViewAttention(16, SCATTERED, layout=LAYOUT).double()
    again.load_state_dict(scattered.state_dict())
    assert torch.equal(again(x), scattered(x))
    other = ViewAttention(16, "video~audio:2 self:2", layout=LAYOUT).double()
    moved = {}
    for name, weight in scattered.state_dict().items():
        axis = 1 if name == "out.shared.weight" else 0
        size = (3, 4, -1) if name.startswith("qkv") else (4, -1)
        if name == "out.shared.bias":
            moved[name] = weight
            continue
        heads = weight.unflatten(axis, size)
        head_axis = axis + len(size) - 2
        moved[name] = heads.index_select(head_axis, torch.tensor([1, 3, 0, 2])).flatten(axis, axis + len(size) - 1)
    other.load_state_dict(moved)
    torch.testing.assert_close(other(x), scattered(x))


def test_layout_and_lengths_may_change_with_every_call(x: torch.Tensor) -> None:
    attention = ViewAttention(16, "self:2 video~audio:2", modalities=("video", "audio")).double()
    lengths = torch.tensor([[5, 3], [4, 0]])
    out = attention(x, LAYOUT, lengths)
    alone = attention(x[1:, :4], TokenLayout({"video": 4, "audio": 0}))
    torch.testing.assert_close(out[1:, :4], alone)
    with pytest.raises(ValueError, match="expected a layout"):
        attention(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": "self:3", "layout": LAYOUT}, "dim 16 is no multiple of the 3 heads"),
        ({"views": "self:4"}, "modalities=... or layout=..."),
        (
            {"views": LayerViews.parse("self:4", ("audio", "video")), "layout": LAYOUT},
            "not in the order audio, video",
        ),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewAttention(16, **arguments)


def test_a_layout_of_another_length_is_named(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="has 8 tokens, x has 7"):
        ViewAttention(16, "self:4", layout=LAYOUT)(x[:, :7].float())


@pytest.mark.parametrize("regroup", [False, True])
@pytest.mark.parametrize("other", ["video~audio:1 self:3", "self:2 audio>video:2", "multi:1 self:1 multi:1 self:1"])
def test_other_views_on_the_same_weights_are_a_new_module_with_them(x: torch.Tensor, other: str, regroup: bool) -> None:
    attention = ViewAttention(16, SCATTERED, layout=LAYOUT).double()
    before = {name: weight.clone() for name, weight in attention.state_dict().items()}
    attention.set_views(LayerViews.parse(other, LAYOUT.modalities), regroup=regroup)
    for name, weight in attention.state_dict().items():
        assert torch.equal(weight, before[name]), name
    fresh = ViewAttention(16, other, layout=LAYOUT).double()
    fresh.load_state_dict(before)
    torch.testing.assert_close(attention(x), fresh(x))
    assert str(attention.views) == other
    attention.set_views(LayerViews.parse(SCATTERED, LAYOUT.modalities), regroup=regroup)
    again = ViewAttention(16, SCATTERED, layout=LAYOUT).double()
    again.load_state_dict(before)
    torch.testing.assert_close(attention(x), again(x))


@pytest.mark.parametrize("given", ["layout", "class_tokens"])
def test_all_queries_see_the_class_tokens_alone(x: torch.Tensor, given: str) -> None:
    class_tokens = {"video": 2, "audio": 1}
    layout = TokenLayout(LAYOUT.as_dict(), class_tokens)
    options = {"layout": layout} if given == "layout" else {"modalities": ("video", "audio"), given: class_tokens}
    attention = ViewAttention(16, "cls:4", **options).double()

    def streams(tokens: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        parts = dict(zip(layout.modalities, tokens.split(layout.lengths, dim=1), strict=True))
        return torch.cat(list(attention.streams(parts, lengths).values()), dim=1)

    seen, out = [0, 1, 5], streams(x)
    torch.testing.assert_close(attention(x, layout), out)
    q, k, v = attention.qkv.of("video")(x).view(2, 8, 3, 4, 4).permute(2, 0, 3, 1, 4)
    heads = torch.nn.functional.scaled_dot_product_attention(q, k[:, :, seen], v[:, :, seen])
    torch.testing.assert_close(out, attention.out.of("video")(heads.transpose(1, 2).flatten(2)))
    lengths = torch.tensor([[5, 0], [1, 3]])  # no audio; one of video's two class tokens
    short = streams(x, lengths)
    torch.testing.assert_close(short[:1, :5], attention(x[:1, :5], TokenLayout({"video": 5, "audio": 0}, class_tokens)))
    alone = TokenLayout({"video": 1, "audio": 3}, class_tokens)
    torch.testing.assert_close(short[1:, [0, 5, 6, 7]], attention(x[1:, [0, 5, 6, 7]], alone))


def test_views_of_another_size_are_refused() -> None:
    attention = ViewAttention(16, SCATTERED, layout=LAYOUT)
    with pytest.raises(ValueError, match="expected views of 4 heads over video, audio, got 'self:8', 8 heads"):
        attention.set_views(LayerViews.parse("self:8", LAYOUT.modalities))
    with pytest.raises(ValueError, match="4 heads over audio, video"):
        attention.set_views(LayerViews.parse("self:4", ("audio", "video")))
