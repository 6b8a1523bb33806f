"""Random attention problems, and a dense formula of their own to hold every backend against."""

import math

import torch
from hypothesis import strategies as st

from locomt import LayerViews, TokenLayout, View
from locomt.views import view_set

NAMES = ("video", "audio", "text", "depth", "lips")


@st.composite
def problems(draw, padded=None, most_modalities=4, sizes=range(7)):
    """(batch, layout, views, lengths or None, on_missing, seed)"""
    m = draw(st.integers(1, most_modalities))
    names = NAMES[:m]
    layout = TokenLayout({name: draw(st.sampled_from(sizes)) for name in names})
    if not layout.total:
        layout = TokenLayout(dict.fromkeys(names, 1))
    views = [View("self"), View("multi"), *view_set(names)[1:]]
    views += [View(f"{a}>{b}") for a in names for b in names if a != b]
    layer = LayerViews(names, tuple(draw(st.lists(st.sampled_from(views), min_size=1, max_size=5))))
    lengths = None
    batch = draw(st.integers(1, 3))
    if draw(st.booleans()) if padded is None else padded:
        lengths = torch.tensor([[draw(st.integers(0, n)) for n in layout.lengths] for _ in range(batch)])
    return batch, layout, layer, lengths, draw(st.sampled_from(("zero", "self"))), draw(st.integers(0, 99))


def tensors(batch, layout, layer, seed, width=8, dtype=torch.float64, device="cpu"):
    """q, k and v with the strides of a joint projection."""
    generator = torch.Generator().manual_seed(seed)
    packed = torch.randn(batch, layout.total, 3, len(layer.heads), width, dtype=torch.float64, generator=generator)
    return [t.transpose(1, 2).requires_grad_() for t in packed.to(device, dtype).unbind(2)]


def by_hand(q, k, v, layout, layer, lengths, on_missing):
    """The definition, one query at a time: the keys it sees, their softmax, their mean."""
    names, out = layout.modalities, torch.zeros_like(q)
    for b in range(q.shape[0]):
        real = dict(zip(names, layout.lengths if lengths is None else lengths[b].tolist(), strict=True))
        places = {n: range(layout.slice(n).start, layout.slice(n).start + real[n]) for n in names}
        for h, view in enumerate(layer.heads):
            for i in names:
                looked_at = [j for j in names if view.sees(i, j)]
                if on_missing == "self" and looked_at and not any(real[j] for j in looked_at):
                    looked_at = [i]
                keys = [place for j in looked_at for place in places[j]]
                for place in places[i] if keys else ():
                    scores = torch.stack([q[b, h, place] @ k[b, h, key] for key in keys]) / math.sqrt(q.shape[-1])
                    out[b, h, place] = scores.softmax(0) @ v[b, h, keys]
    return out
