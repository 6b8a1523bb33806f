"""Multi-head attention in which every head has a view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from locomt.layout import TokenLayout
from locomt.nn.per_modality import PerModality, Streams
from locomt.nn.rows import output, projected, work
from locomt.ops import view_attention
from locomt.ops.pieces import put, take
from locomt.views import LayerViews, View
from locomt.views.reads import Range

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class ViewMixture(NamedTuple):
    """Heads that attend by several views at once, what comes out weighted and added up, in place of a view each.

    Attributes:
        views: V of them.
        weights: `[..., heads, V]`, heads in the order of the table; one-hot rows amount to a table.
    """

    views: tuple[View, ...]
    weights: Float[Tensor, "*layers heads views"]


class ViewAttention(nn.Module):
    """Drop-in multi-head attention over the tokens of several modalities (arXiv 2402.15096, section 2).

        attention = ViewAttention(768, "self:6 video~audio:6", layout=TokenLayout({"video": 1569, "audio": 401}))
        out = attention(x)                                  # x, out: [B, 1970, 768]

    The module lays the heads of one view side by side, so that no step gathers heads; its checkpoints and `views`
    keep the order of the table it was given, and so does what `set_views` gives it later.

    Args:
        dim: width of a token, a multiple of the number of heads.
        views: one view a head, as `LayerViews` or its text form.
        modalities: their order, where `views` is text and no layout is given.
        layout: token counts, if every batch has the same; otherwise `forward` takes one.
        class_tokens: how many tokens at the front of each modality are class tokens, where no layout says so; 1 of
            those left out.
        shared_weights: one set of projections for all modalities, or one each.
        on_missing, backend: as for `view_attention`.

    Raises:
        ValueError: `views`, `modalities` and `layout` do not fit each other, or `dim` the number of heads.
    """

    def __init__(
        self,
        dim: int,
        views: LayerViews | str,
        *,
        modalities: Iterable[str] | None = None,
        layout: TokenLayout | None = None,
        class_tokens: Mapping[str, int] | None = None,
        shared_weights: bool = True,
        on_missing: str = "zero",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if isinstance(views, str):
            names = layout.modalities if modalities is None and layout is not None else modalities
            if names is None:
                raise ValueError("views in text form need modalities=... or layout=... beside them")
            views = LayerViews.parse(views, names)
        heads = len(views.heads)
        if dim % heads:
            raise ValueError(f"dim {dim} is no multiple of the {heads} heads of {str(views)!r}")
        if layout is not None and layout.modalities != views.modalities:
            raise ValueError(f"layout {layout} is not in the order {', '.join(views.modalities)} of the views")
        self.views = views
        self.layout = layout
        self.class_tokens = layout.class_tokens if class_tokens is None and layout is not None else class_tokens
        self.heads = heads
        self.on_missing = on_missing
        self.backend = backend
        self.qkv = PerModality(views.modalities, lambda _: nn.Linear(dim, 3 * dim), shared=shared_weights)
        self.out = PerModality(views.modalities, lambda _: nn.Linear(dim, dim), shared=shared_weights)
        self._order = views.grouped
        self._ordered = views.ordered(self._order)
        self.register_state_dict_post_hook(_to_table_order)
        self.register_load_state_dict_pre_hook(_from_table_order)

    def set_views(self, views: LayerViews, *, regroup: bool = False) -> None:
        """Follow other views with the same weights: head h of the table has the weights that it had before.

        Args:
            views: of the same modalities and as many heads.
            regroup: lay the heads of one view side by side again, which moves weights: not while an optimiser
                remembers something of each. Where they are not neighbours, backend `sdpa` makes more calls.

        Raises:
            ValueError: other modalities, or another number of heads.
        """
        if (views.modalities, len(views.heads)) != (self.views.modalities, self.heads):
            raise ValueError(
                f"expected views of {self.heads} heads over {', '.join(self.views.modalities)}, got {str(views)!r}, "
                f"{len(views.heads)} heads over {', '.join(views.modalities)}"
            )
        if regroup and views.grouped != self._order:
            state = self.state_dict()
            self._order = views.grouped
            self.load_state_dict(state)
        self.views = views
        self._ordered = views.ordered(self._order)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        layout: TokenLayout | None = None,
        lengths: Int[Tensor, "batch modalities"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend over concatenated tokens.

        Args:
            x: tokens of the modalities, one after the other as the layout says.
            layout: of this batch; the one given at construction if None.
            lengths: as for `view_attention`.
        """
        layout = layout or self.layout
        if layout is None:
            raise ValueError("expected a layout: at construction, or with each call where lengths change")
        if x.shape[1] != layout.total:
            raise ValueError(f"layout {layout.as_dict()} has {layout.total} tokens, x has {x.shape[1]}")
        streams = dict(zip(layout.modalities, x.split(layout.lengths, dim=1), strict=True))
        return torch.cat(list(self._attend(streams, layout, lengths).values()), dim=1)

    def streams(
        self,
        streams: Streams,
        lengths: Tensor | None = None,
        mixture: ViewMixture | None = None,
        outputs: Sequence[Range] | None = None,
    ) -> Streams:
        """Attend over every modality's tokens, given and returned one by one.

        Args:
            streams: the tokens of every modality.
            lengths: as for `view_attention`.
            mixture: of views, weights `[heads, V]`, in place of the module's.
            outputs: of every modality the rows that are read; these alone are returned, and of queries, keys, values
                and heads those alone are computed on which they depend. All if None.
        """
        layout = TokenLayout({name: tokens.shape[1] for name, tokens in streams.items()}, self.class_tokens)
        if outputs is None:
            return self._attend(streams, layout, lengths, mixture)
        choices = (self._ordered,) if mixture is None else self._each(mixture)
        own = 0 if self.on_missing == "zero" else 1 if lengths is None else 2
        todo = work(choices, layout, tuple(outputs), own)
        pieces: list[Tensor] = []
        for (name, x), parts in zip(streams.items(), todo.parts, strict=True):
            pieces += projected(x, self.qkv.of(name), parts, self.heads)
        taken: list[Tensor] = []
        if pieces:
            q, k, v = (t.transpose(1, 2) for t in put(todo.joint, pieces))
            attended = self._views(q, k, v, layout, lengths, mixture, todo.queries)
            taken = [*take(todo.given, [attended.transpose(1, 2)])]
        found: Streams = {}
        for (name, x), rows, heads in zip(streams.items(), todo.outputs, todo.heads, strict=True):
            # Of no head there is the bias alone.
            part = taken.pop(0) if heads else x.new_zeros(x.shape[0], rows[1] - rows[0], 0, 1)
            found[name] = output(part, self.out.of(name), heads, self.heads)
        return found

    def _attend(
        self, streams: Streams, layout: TokenLayout, lengths: Tensor | None, mixture: ViewMixture | None = None
    ) -> Streams:
        qkv = torch.cat(list(self.qkv(streams).values()), dim=1).unflatten(2, (3, self.heads, -1))
        q, k, v = (t.transpose(1, 2) for t in qkv.unbind(2))
        attended = self._views(q, k, v, layout, lengths, mixture)
        parts = attended.transpose(1, 2).flatten(2).split(layout.lengths, dim=1)
        return self.out(dict(zip(layout.modalities, parts, strict=True)))  # type: ignore[no-any-return]

    def _views(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layout: TokenLayout,
        lengths: Tensor | None,
        mixture: ViewMixture | None,
        queries: Sequence[Range] | None = None,
    ) -> Tensor:
        def attend(views: LayerViews) -> Tensor:
            return view_attention(
                q, k, v, layout, views,
                lengths=lengths, queries=queries, on_missing=self.on_missing, backend=self.backend,
            )  # fmt: skip

        if mixture is None:
            return attend(self._ordered)
        weights = mixture.weights[list(self._order)].to(q.dtype)[..., None, None]
        each = (attend(views) for views in self._each(mixture))
        return reduce(torch.add, (weights[:, n] * part for n, part in enumerate(each)))

    def _each(self, mixture: ViewMixture) -> tuple[LayerViews, ...]:
        return tuple(LayerViews(self.views.modalities, (view,) * self.heads) for view in mixture.views)

    def extra_repr(self) -> str:
        return f"views={str(self.views)!r}"


def _by_head(module: ViewAttention, state: dict[str, Tensor], prefix: str, order: Iterable[int]) -> None:
    """Reorder the heads in the projections' entries of a state dict; `order[new place] = old place`."""
    index = torch.tensor(list(order))
    if torch.equal(index, torch.arange(module.heads)):
        return
    for name in module.qkv:
        for key in (f"{prefix}qkv.{name}.weight", f"{prefix}qkv.{name}.bias"):
            if key in state:
                rows = state[key].unflatten(0, (3, module.heads, -1))
                state[key] = rows[:, index.to(rows.device)].flatten(0, 2)
        if (key := f"{prefix}out.{name}.weight") in state:
            columns = state[key].unflatten(1, (module.heads, -1))
            state[key] = columns[:, index.to(columns.device)].flatten(1)


def _to_table_order(module: ViewAttention, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    places = sorted(range(module.heads), key=module._order.__getitem__)
    _by_head(module, state, prefix, places)


def _from_table_order(module: ViewAttention, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    _by_head(module, state, prefix, module._order)
