"""The public op: validation and the choice of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from locomt.layout import TokenLayout
from locomt.ops.fa4 import installed, mixed
from locomt.ops.hopper import launch as hopper
from locomt.ops.operator import attend
from locomt.ops.plan import Segments, segments
from locomt.ops.reference import reference_attention
from locomt.ops.sdpa import calls as sdpa  # noqa: F401  (registers its operators)
from locomt.ops.sdpa.composite import composite_attention
from locomt.ops.sdpa.dense import why_not as no_kernel
from locomt.ops.triton import fused
from locomt.views import LayerViews
from locomt.views.reads import Range
from locomt.views.segments import score_pairs

if TYPE_CHECKING:  # for readers and type checkers; the op itself needs torch alone
    from jaxtyping import Bool, Float, Int

ON_MISSING = ("zero", "self")


class Backend(NamedTuple):
    """How a backend computes, and for which tensors it serves (None) or why not."""

    compute: Callable[..., Tensor]
    why_not: Callable[[torch.device, torch.dtype, int, int], str | None]


def _registered(backend: str) -> Callable[..., Tensor]:
    def compute(*arguments: Any) -> Tensor:
        # torch 2.11 says that it exports under torch.compile too, where the operator is what is wanted.
        if torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling():
            return composite_attention(*arguments)
        return attend(backend, *arguments)

    return compute


def _always(device: torch.device, dtype: torch.dtype, head_dim: int, segments: int = 1) -> None:
    return None


# In the order in which "auto" prefers them, but for `fa4`, which it takes where that pays.
BACKENDS = {
    "triton": Backend(_registered("triton"), fused.why_not),
    "fa4": Backend(_registered("fa4"), installed.why_not),
    "sdpa": Backend(_registered("sdpa"), no_kernel),
    "reference": Backend(reference_attention, _always),
}
OURS = tuple(name for name in BACKENDS if name != "fa4")


def serving(device: torch.device | str, dtype: torch.dtype, head_dim: int, segments: int = 1) -> list[str]:
    """The backends that compute tensors of this device, dtype and head width, the one for most cases first.

    Args:
        segments: into which the views split the tokens (`locomt.views.segments`).
    """
    return _serving(BACKENDS, torch.device(device), dtype, head_dim, segments)


def _serving(among: Iterable[str], device: torch.device, dtype: torch.dtype, head_dim: int, segments: int) -> list[str]:
    names = [name for name in among if not BACKENDS[name].why_not(device, dtype, head_dim, segments)]
    # Off CUDA, `triton` serves under its interpreter alone, which is for tests.
    return names if device.type == "cuda" else [name for name in names if name != "triton"]


def choose_backend(
    q: Tensor,
    layout: TokenLayout,
    views: LayerViews,
    lengths: Tensor | None = None,
    queries: Sequence[Range] | None = None,
) -> str:
    """The backend that `backend="auto"` takes."""
    return _chosen(q, segments(layout, views, lengths, queries))


def _chosen(q: Tensor, parts: Segments) -> str:
    problem = (q.device, q.dtype, q.shape[-1], len(parts.layout))
    # Asked in this order: the second question may load flash-attn-4, which takes seconds.
    if mixed.pays(q, parts) and not installed.why_not(*problem):
        return "fa4"
    first, *others = _serving(OURS, *problem)
    if first == "triton" and "sdpa" in others and parts.lengths is None and not hopper.available(q.device):
        return "sdpa" if _few_large_calls(q, parts) else first
    return first


def _few_large_calls(q: Tensor, parts: Segments) -> bool:
    """Where torch's dense kernels beat the fused ones though their results have to be put in place.

    As measured on an H200 without its own kernels (docs/performance.md): wide heads, and training where every head
    sees everything.
    """
    sizes, masks, _ = parts
    everything = (1 << len(sizes)) - 1
    trains_dense = q.requires_grad and torch.is_grad_enabled() and all(mask == everything for mask in masks)
    if q.shape[-1] <= 64 and not trains_dense:
        return False
    return 4 * q.shape[0] * q.shape[-1] * score_pairs(sizes, masks) >= fused.LARGE


def backends() -> dict[str, str | None]:
    """Every backend, and None where it serves on this machine's best device or else the reason why not."""
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    return {name: backend.why_not(torch.device(device), dtype, 64, 1) for name, backend in BACKENDS.items()}


def view_attention(
    q: Float[Tensor, "batch heads tokens width"],
    k: Float[Tensor, "batch heads tokens width"],
    v: Float[Tensor, "batch heads tokens width"],
    layout: TokenLayout,
    views: LayerViews,
    *,
    lengths: Int[Tensor, "batch modalities"] | None = None,
    queries: Sequence[Range] | None = None,
    scale: float | None = None,
    on_missing: str = "zero",
    backend: str = "auto",
) -> Float[Tensor, "batch heads tokens width"]:
    r"""Attention in which each head sees what its view allows (arXiv 2402.15096, section 2).

    For head h and a query of modality i, with A the matrix of the head's view (which for `cls` holds the class tokens
    alone of every modality),

    $$o = \sum_{j: A_{ij}} \sum_{t \in j} \mathrm{softmax}_t(\mathrm{scale} \cdot q^\top k_t) \, v_t$$

    where the softmax runs over all keys seen. A query that sees no key yields exactly zero, and zero gradients.

    Args:
        q, k, v: `[B, H, N, D]` with N = `layout.total`; the tokens of one modality after the other's.
        layout: the modalities' order, lengths and class tokens, the same modalities as `views`.
        views: one view a head. Runs of neighbouring heads with one view cost one call each: scattered heads
            are best put in `views.grouped` order, as `ViewAttention` does.
        lengths: int `[B, m]`, how many leading tokens of each modality are real, 0 where the sample lacks it.
            Padding keys are never seen and padding queries yield zeros. On the CPU, full lengths cost nothing;
            so a `lengths` tensor may stay on the CPU whatever device q is on.
        queries: for every modality the first of its rows whose output is read, and the one behind the last; None where
            all are. The others cost nothing and yield zeros.
        scale: of the scores; 1 / sqrt(D) if None.
        on_missing: where all modalities that a view looks to are missing: `zero`, or `self` to see the own one.
        backend: `reference`, `sdpa`, `triton`, `fa4` or `auto` (`choose_backend` says which). A named one never falls
            back.

    Raises:
        ValueError: shapes, layout, views, lengths or options do not fit, or the named backend cannot serve.
    """
    if torch.is_autocast_enabled(q.device.type):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    _check(q, k, v, layout, views, lengths)
    if queries is not None:
        _check_queries(queries, layout)
    if on_missing not in ON_MISSING:
        raise ValueError(f"on_missing: expected one of {', '.join(ON_MISSING)}, got {on_missing!r}")
    parts = segments(layout, views, lengths, queries)
    if backend == "auto":
        backend = _chosen(q, parts)
    elif backend not in BACKENDS:
        raise ValueError(f"backend: expected auto, {', '.join(BACKENDS)}, got {backend!r}")
    elif reason := BACKENDS[backend].why_not(q.device, q.dtype, q.shape[-1], len(parts.layout)):
        raise ValueError(f"backend {backend!r} cannot serve here: {reason}; backend='auto' takes one that can")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    own = len(parts.layout) // len(layout.modalities) if on_missing == "self" else 0
    return BACKENDS[backend].compute(q, k, v, *parts, scale, own)


def lengths_of(
    masks: Mapping[str, Bool[Tensor, "batch tokens"]], layout: TokenLayout
) -> Int[Tensor, "batch modalities"]:
    """`lengths` for `view_attention` out of masks that are True where a token is real.

    Args:
        masks: of each modality, `[B, tokens]`; of those left out all tokens are real.
        layout: of the tokens.

    Raises:
        ValueError: a mask is of another shape or type, of an unknown modality, or real tokens stand behind padding.
    """
    if unknown := [name for name in masks if name not in layout.modalities]:
        raise ValueError(f"expected masks of {', '.join(layout.modalities)}, got one of {unknown[0]!r}")
    if not masks:
        raise ValueError("expected a mask of one modality or more, got none; leave lengths out where all are real")
    like, counts = next(iter(masks.values())), []
    for name, tokens in layout.as_dict().items():
        mask = masks.get(name)
        if mask is None:
            counts.append(torch.full((like.shape[0],), tokens, device=like.device))
            continue
        if mask.dtype != torch.bool or mask.shape != (like.shape[0], tokens):
            expected = [like.shape[0], tokens]
            raise ValueError(f"{name!r}: expected a bool mask {expected}, got {mask.dtype} {list(mask.shape)}")
        if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
            raise ValueError(
                f"{name!r}: expected the real tokens of each sample first, got padding before some of them"
            )
        counts.append(mask.sum(dim=1))
    return torch.stack(counts, dim=1)


def _check_queries(queries: Sequence[Range], layout: TokenLayout) -> None:
    if len(queries) != len(layout.lengths):
        raise ValueError(f"expected queries of each of {', '.join(layout.modalities)}, got {len(queries)} ranges")
    for name, length, (first, last) in zip(layout.modalities, layout.lengths, queries, strict=True):
        if not 0 <= first <= last <= length:
            raise ValueError(f"queries of modality {name!r}: expected rows 0 to {length}, got {first} to {last}")


def _check(q: Tensor, k: Tensor, v: Tensor, layout: TokenLayout, views: LayerViews, lengths: Tensor | None) -> None:
    if q.ndim != 4 or q.shape != k.shape or q.shape != v.shape:
        raise ValueError(
            "expected q, k and v of one shape [batch, heads, tokens, width], "
            f"got {list(q.shape)}, {list(k.shape)} and {list(v.shape)}"
        )
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"expected q, k and v of one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    if q.shape[2] != layout.total:
        raise ValueError(f"layout {layout.as_dict()} has {layout.total} tokens, q has {q.shape[2]}")
    if q.shape[1] != len(views.heads):
        raise ValueError(f"views are for {len(views.heads)} heads, q has {q.shape[1]}")
    if views.modalities != layout.modalities:
        raise ValueError(
            f"views are for modalities {', '.join(views.modalities)}, "
            f"the layout has {', '.join(layout.modalities)}; give both in one order"
        )
    if lengths is None:
        return
    if lengths.dtype == torch.bool:
        raise ValueError("expected integer lengths, got bool, as of a mask of padding; `lengths_of(mask)` counts them")
    if lengths.shape != (q.shape[0], len(layout.modalities)) or lengths.is_floating_point():
        raise ValueError(
            f"expected integer lengths [batch, modalities] = {[q.shape[0], len(layout.modalities)]}, "
            f"got {lengths.dtype} {list(lengths.shape)}"
        )
    if lengths.device.type == "cpu" and not torch.compiler.is_compiling() and _is_plain(lengths):
        outside = (lengths < 0) | (lengths > torch.tensor(layout.lengths))
        if bool(outside.any()):
            sample, modality = (int(n) for n in outside.nonzero()[0])
            raise ValueError(
                f"lengths[{sample}, {modality}] is {int(lengths[sample, modality])}: modality "
                f"{layout.modalities[modality]!r} has 0 to {layout.lengths[modality]} tokens"
            )


def _is_plain(tensor: Tensor) -> bool:
    """Whether values can be read: not under vmap or a fake-tensor mode."""
    return type(tensor) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
