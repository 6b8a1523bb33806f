"""Random attention problems, and a dense formula of their own to hold every backend against."""

import math
from collections.abc import Sequence

import torch
from hypothesis import strategies as st

from locomt import LayerViews, TokenLayout, View
from locomt.ops.plan import segments
from locomt.ops.reference import visible
from locomt.views import Part, view_set

NAMES = ("video", "audio", "text", "depth", "lips")
Problem = tuple[int, TokenLayout, LayerViews, torch.Tensor | None, str, int]


@st.composite
def problems(
    draw: st.DrawFn,
    padded: bool | None = None,
    most_modalities: int = 4,
    sizes: Sequence[int] = range(7),
    most_heads: int = 5,
    most_samples: int = 3,
) -> Problem:
    """(batch, layout, views, lengths or None, on_missing, seed)"""
    m = draw(st.integers(1, most_modalities))
    names = NAMES[:m]
    tokens = {name: draw(st.sampled_from(sizes)) for name in names}
    if not any(tokens.values()):
        tokens = dict.fromkeys(names, 1)
    layout = TokenLayout(tokens, {name: draw(st.integers(1, 2)) for name in names})
    views = [View("self"), View("multi"), View("cls"), *view_set(names)[1:]]
    views += [View(f"{a}>{b}") for a in names for b in names if a != b]
    layer = LayerViews(names, tuple(draw(st.lists(st.sampled_from(views), min_size=1, max_size=most_heads))))
    lengths = None
    batch = draw(st.integers(1, most_samples))
    if draw(st.booleans()) if padded is None else padded:
        lengths = torch.tensor([[draw(st.integers(0, n)) for n in layout.lengths] for _ in range(batch)])
    return batch, layout, layer, lengths, draw(st.sampled_from(("zero", "self"))), draw(st.integers(0, 99))


def tensors(
    batch: int,
    layout: TokenLayout,
    layer: LayerViews,
    seed: int,
    width: int = 8,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> list[torch.Tensor]:
    """q, k and v with the strides of a joint projection."""
    generator = torch.Generator().manual_seed(seed)
    packed = torch.randn(batch, layout.total, 3, len(layer.heads), width, dtype=torch.float64, generator=generator)
    return [t.transpose(1, 2).requires_grad_() for t in packed.to(device, dtype).unbind(2)]


def seen(
    layout: TokenLayout, layer: LayerViews, lengths: torch.Tensor | None, on_missing: str, batch: int
) -> torch.Tensor:
    """`[B, H, N, N]`: whether a query sees a key."""
    full = torch.tensor([layout.lengths] * batch) if lengths is None else lengths
    own = layer.parts if on_missing == "self" else 0
    return visible(*segments(layout, layer, full), own)


def by_hand(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    layout: TokenLayout,
    layer: LayerViews,
    lengths: torch.Tensor | None,
    on_missing: str,
) -> torch.Tensor:
    """The definition, one query at a time: the keys it sees, their softmax, their mean."""
    names, out = layout.modalities, torch.zeros_like(q)
    for b in range(q.shape[0]):
        real = dict(zip(names, layout.lengths if lengths is None else lengths[b].tolist(), strict=True))
        places = {n: range(layout.slice(n).start, layout.slice(n).start + real[n]) for n in names}
        for h, view in enumerate(layer.heads):
            for i in names:
                tokens = {Part.NOTHING: lambda j: 0, Part.CLASS: layout.class_tokens.get, Part.ALL: lambda j: None}
                looked_at = [j for j in names if view.sees(i, j)]
                keys = [place for j in looked_at for place in places[j][: tokens[view.part(i, j)](j)]]
                if on_missing == "self" and looked_at and not keys:
                    keys = [*places[i]]
                for place in places[i] if keys else ():
                    scores = torch.stack([q[b, h, place] @ k[b, h, key] for key in keys]) / math.sqrt(q.shape[-1])
                    out[b, h, place] = scores.softmax(0) @ v[b, h, keys]
    return out
