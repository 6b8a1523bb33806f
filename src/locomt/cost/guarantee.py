r"""The inequality that gives the method its name, in score pairs, and where it stops holding.

$$C_\mathrm{LoCoMT} \le C_\mathrm{self} = \sum_i L_i^2 < C_\mathrm{bottle} = \sum_i (L_i + B)^2
< C_\mathrm{multi} = \Bigl(\sum_i L_i\Bigr)^2$$

(arXiv 2402.15096, section 2). The first two steps hold for every table of self, cross and one-way views at any token
counts; the last one up to a number of bottlenecks that depends on them. All rows of all layers count, read or not, as
in the paper; what is computed is less (`locomt.cost.flops`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from locomt.cost.closed_form import fusion_pairs, token_counts
from locomt.nn.config import FusionConfig


@dataclass(frozen=True)
class Pairs:
    """The four numbers: score pairs, all heads."""

    locomt: int
    self: int
    bottle: int
    multi: int

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(
            self.locomt + other.locomt, self.self + other.self, self.bottle + other.bottle, self.multi + other.multi
        )


@dataclass(frozen=True)
class Guarantee:
    """What the guarantee says about one model at given token counts.

    Attributes:
        layers: the four numbers of each fusion layer, from the lowest up.
        bottlenecks: B of C_bottle.
        holds_up_to: the largest B for which C_bottle < C_multi at these token counts; None where there is none.
        broken: a sentence for every step that does not hold.
    """

    layers: tuple[Pairs, ...]
    bottlenecks: int
    holds_up_to: int | None
    broken: tuple[str, ...]

    @property
    def total(self) -> Pairs:
        """The four numbers summed over the fusion layers."""
        return sum(self.layers[1:], start=self.layers[0])

    @property
    def holds(self) -> bool:
        return not self.broken


def guarantee(config: FusionConfig, tokens: Mapping[str, int] | None = None) -> Guarantee:
    """The guarantee for the view table of `config`, beside self-attention, MBT's B bottlenecks and dense attention.

    Args:
        config: a model that follows a table; `mbt` has none.
        tokens: as for `locomt.cost.token_counts`; a modality that is missing takes no part.

    Raises:
        CostError: see `locomt.cost.token_counts`.
        ValueError: `config` is `mbt`.
    """
    table = config.view_table()
    if table is None:
        raise ValueError("the guarantee is about a view table, and fusion 'mbt' has none; ask for another fusion")
    counts = token_counts(config, tokens)
    lengths = [n for n in counts.values() if n]
    others = [
        fusion_pairs(replace(config, fusion=fusion, views=None), counts) for fusion in ("selfall", "mbt", "multiall")
    ]
    layers = tuple(Pairs(*numbers) for numbers in zip(fusion_pairs(config, counts), *others, strict=True))
    limit = largest_bottleneck(lengths)
    broken = []
    if len(config.modalities) > 1:
        for number, layer in enumerate(table.layers, start=1):
            for view in dict.fromkeys(view for view in layer.heads if not view.kind.bounded):
                broken.append(
                    f"C_LoCoMT <= C_self is not guaranteed: {layer.heads.count(view)} of {len(layer.heads)} heads of "
                    f"fusion layer {number} are {view}, which may cost more than self and is no view of the paper's set"
                )
    if limit is None:
        broken.append("C_bottle < C_multi holds for no B: there is one modality alone")
    elif config.bottlenecks > limit:
        broken.append(f"C_bottle < C_multi holds up to B = {limit} at these token counts, not for {config.bottlenecks}")
    return Guarantee(layers, config.bottlenecks, limit, tuple(broken))


def largest_bottleneck(lengths: list[int]) -> int | None:
    r"""The largest B >= 0 with $\sum_i (L_i + B)^2 < (\sum_i L_i)^2$, or None where even B = 0 is too many.

    With $S = \sum_i L_i$ and $Q = \sum_i L_i^2$ the condition is $m B^2 + 2 S B + Q - S^2 < 0$, that is
    $m B + S < \sqrt{S^2 + m (S^2 - Q)}$: computed in whole numbers, without rounding.

    Args:
        lengths: L_i of the modalities that are there, each 1 or more.
    """
    total, squares = sum(lengths), sum(n * n for n in lengths)
    below_root = math.isqrt(total**2 + len(lengths) * (total**2 - squares) - 1)
    limit = (below_root - total) // len(lengths)
    return limit if limit >= 0 else None
