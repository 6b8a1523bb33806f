"""Attention mass: how much of each head's attention falls on each block of modalities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from locomt.data import Batch
from locomt.nn.block import Block
from locomt.nn.model import FusionModel
from locomt.progress import stage
from locomt.views import LayerViews, View
from locomt.views.kinds import Part

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class AttentionMass:
    """The attention of the heads between each pair of modalities, summed over samples.

    A block (i, j) of a head is what its queries of modality i give to keys of modality j: the mean over the queries of
    the attention probabilities on those keys. A row sums to 1 over j, or is 0 where the view gives
    such queries nothing to see.

    Attributes:
        sums: `[layers, heads, m, m]`, float64: the blocks, summed over the samples that have modality i.
        samples: `[m]`: how many samples have modality i.
    """

    def __init__(self, layers: int, heads: int, modalities: tuple[str, ...]) -> None:
        self.modalities = modalities
        self.sums = torch.zeros(layers, heads, len(modalities), len(modalities), dtype=torch.float64)
        self.samples = torch.zeros(len(modalities), dtype=torch.float64)

    @property
    def mean(self) -> Float[Tensor, "layers heads m m"]:
        """The mean of the blocks over the samples that have the query's modality. Rows of an absent modality are 0."""
        return self.sums / self.samples.clamp(min=1)[:, None]

    def kept(self, views: Iterable[View]) -> Float[Tensor, "layers heads views"]:
        """The share of a head's attention that each view would keep, as the mean over the modalities of the queries.

        All modalities have the same weight, whatever their number of tokens: the classifier averages one [CLS] of each.
        `multi` keeps 1.
        """
        names = self.modalities
        allowed = torch.tensor([[[float(view.sees(i, j)) for j in names] for i in names] for view in views])
        seen = (self.samples > 0).double()
        return torch.einsum("lhij,vij,i->lhv", self.mean, allowed.double(), seen / seen.sum().clamp(min=1))


@torch.inference_mode()
def measure_mass(model: FusionModel, batches: Iterable[Batch], device: torch.device | str = "cpu") -> AttentionMass:
    """Measure where the heads of a trained model look on a data set, each within its view.

    Queries and keys are recorded while the model runs. The probabilities, `[heads, N, N]` in float32, are computed for
    one sample and layer at a time.

    Args:
        model: with a table of views; MBT has none.
        batches: samples; the sums leave out padding and missing modalities.
        device: where to run the model.
    """
    table = model.table
    assert table is not None
    mass = AttentionMass(len(table.layers), table.num_heads, table.modalities)
    model = model.to(device).eval()
    with _watching(model) as layers, stage("looking at attention", "batches") as seen:
        views = [_allowed(layer, model.class_tokens) for layer in table.layers]
        for batch in batches:
            if not batch.ids:
                continue
            batch = batch.to(device)
            for watched in layers:
                watched.clear()
            model(batch.inputs, batch.lengths)
            counts = _token_counts(layers[0])
            mass.samples += (counts > 0).sum(0).cpu()
            for place, watched in enumerate(layers):
                mass.sums[place] += _blocks(watched["qkv"], counts, views[place]).cpu()
            seen.add()
    return mass


@contextmanager
def _watching(model: FusionModel) -> Iterator[list[dict[str, Any]]]:
    """Record the inputs of attention in each fusion layer: `qkv`, modality -> projections, and `lengths`.

    All of them: the model computes everything meanwhile, whether it reads it or not.
    """
    layers: list[dict[str, Any]] = []
    with ExitStack() as hooks:
        hooks.callback(setattr, model, "everything", model.everything)
        model.everything = True
        for block in model.fusion:
            assert isinstance(block, Block)
            watched: dict[str, Any] = {}
            layers.append(watched)

            def keep_lengths(_: Any, inputs: tuple[Any, ...], watched: dict[str, Any] = watched) -> None:
                watched["lengths"] = inputs[1] if len(inputs) > 1 else None

            def keep_projections(_: Any, __: Any, out: Any, watched: dict[str, Any] = watched) -> None:
                watched["qkv"] = out

            for handle in (
                block.register_forward_pre_hook(keep_lengths),
                block.attention.qkv.register_forward_hook(keep_projections),
            ):
                hooks.callback(handle.remove)
        yield layers


def _token_counts(watched: dict[str, Any]) -> Int[Tensor, "batch m"]:
    """The number of real tokens of each modality in each sample."""
    streams = watched["qkv"]
    full = torch.tensor([stream.shape[1] for stream in streams.values()])
    if watched["lengths"] is None:
        return full.expand(next(iter(streams.values())).shape[0], -1)
    return torch.minimum(watched["lengths"].cpu(), full)


Allowed = Callable[[Sequence[int]], "Bool[Tensor, 'heads N N']"]
"""Which tokens each head's queries see, of a sample with so many tokens of each modality."""


def _allowed(layer: LayerViews, class_tokens: Sequence[int]) -> Allowed:
    names = layer.modalities
    parts = torch.tensor([[[int(view.part(i, j)) for j in names] for i in names] for view in layer.heads])

    def of(counts: Sequence[int]) -> Bool[Tensor, "heads N N"]:
        """Queries whose keys are all missing see their own modality; those to which a view gives none see nothing."""
        lengths = torch.tensor(counts)
        own = torch.arange(len(counts)).repeat_interleave(lengths)
        first = torch.cat([torch.arange(count) < most for count, most in zip(counts, class_tokens, strict=True)])
        part = parts[:, own][:, :, own]
        sees = (part == Part.ALL) | ((part == Part.CLASS) & first)
        lost = (parts > Part.NOTHING).any(dim=-1)[:, own] & ~sees.any(dim=-1)
        return sees | (lost[..., None] & (own[:, None] == own))

    return of


def _blocks(streams: dict[str, Tensor], counts: Int[Tensor, "batch m"], allowed: Allowed) -> Float[Tensor, "heads m m"]:
    """The blocks of one layer, summed over the samples of a batch."""
    sums: Tensor | None = None
    for sample, own in enumerate(counts.tolist()):
        seen = allowed(own)
        heads, m = len(seen), len(streams)
        sums = torch.zeros(heads, m, m, dtype=torch.float64) if sums is None else sums
        real = [stream[sample, :count] for stream, count in zip(streams.values(), own, strict=True)]
        q, k, _ = torch.cat(real).float().unflatten(1, (3, heads, -1)).unbind(1)  # [N, heads, width]
        scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
        seen = seen.to(scores.device)
        given = scores.masked_fill(~seen, -math.inf).softmax(-1)
        given = given.masked_fill(~seen.any(-1, keepdim=True), 0.0)  # which the softmax of nothing is not
        by_key = torch.stack([part.sum(-1) for part in given.split(own, dim=2)], dim=-1)  # [heads, N, m]
        for i, rows in enumerate(by_key.split(own, dim=1)):
            if own[i]:
                sums[:, i] += rows.double().mean(1).cpu()
    assert sums is not None, "a batch has samples"
    return sums
