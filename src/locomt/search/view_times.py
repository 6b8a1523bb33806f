"""How long the views of a model take on a device. This is measured once and then read from a file."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from locomt.cost.timing import paired_seconds
from locomt.files import to_json, write_text
from locomt.layout import TokenLayout
from locomt.nn.fusion_plan import answer_ranges
from locomt.ops import view_attention
from locomt.progress import stage
from locomt.search.budget import SearchError
from locomt.search.space import NANOSECONDS, Space
from locomt.train.recipe import Recipe
from locomt.train.runs import device_of
from locomt.views import LayerViews, View, ViewTable
from locomt.views.reads import Range

Name = TypeVar("Name")
DEVICE = "device.json"
SECONDS = 3.0
"""Seconds to time all views together, in at least `locomt.cost.timing.FEWEST_ROUNDS` rounds."""


@dataclass(frozen=True)
class DeviceTimes:
    """Times of the views of a model of one size.

    Attributes:
        machine: `device`, `torch` (its version) and `precision` of the measurement.
        size: `tokens` of each modality, `heads` and `head_width` of the attention that was timed.
        views: nanoseconds of one head: the time of a layer whose heads all hold the view, divided by its heads.
        last: those of the last layer, of which the head of the model reads some rows alone.
        tables: the times of whole tables that were measured: `ms`, and `multiall_ms` in the same rounds.
    """

    machine: dict[str, str]
    size: dict[str, Any]
    views: dict[View, int]
    last: dict[View, int]
    tables: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """The content of `device.json`."""
        heads, last = ({str(view): time / NANOSECONDS for view, time in own.items()} for own in (self.views, self.last))
        return {**self.machine, **self.size, "ms_per_head": heads, "ms_per_last_head": last, "tables": self.tables}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> DeviceTimes:
        """Raises KeyError, TypeError, ValueError or AttributeError if the document has another form."""
        every = document["ms_per_head"]
        # Earlier versions computed all rows of the last layer too, and timed no others: the time is then a bound.
        views, last = (
            {View(view): round(NANOSECONDS * float(ms)) for view, ms in own.items()}
            for own in (every, document.get("ms_per_last_head", every))
        )
        if min(*views.values(), *last.values()) <= 0 or views.keys() != last.keys():
            raise ValueError("a time is not above 0, or there is none of the last layer")
        return cls(
            machine={name: str(document[name]) for name in ("device", "torch", "precision")},
            size={name: document[name] for name in ("tokens", "heads", "head_width")},
            views=views,
            last=last,
            tables={table: {name: float(ms) for name, ms in own.items()} for table, own in document["tables"].items()},
        )


def view_times(space: Space, recipe: Recipe, path: Path, *, here: bool = False) -> DeviceTimes:
    """Read the times from a file. If there is none, measure them and write it.

    The forward pass of `view_attention` alone is timed: batch 1, all tokens, in the recipe's precision and on its
    device. A time is the median over rounds in which the views take turns.

    Args:
        here: measure again if the file is from another machine, version of torch or number of threads.

    Raises:
        SearchError: the file holds something else, or times for a model of another size.
    """
    if path.is_file():
        known = _read(path, space, recipe)
        if not here or known.machine == _machine(recipe):
            return known
    heads = {view: LayerViews(space.modalities, (view,) * space.heads) for view in space.all_views}
    every, answer = [(0, n) for n in space.tokens.values()], answer_ranges(space.config)
    layers = {(view, own is answer): [(layer, own)] for view, layer in heads.items() for own in (every, answer)}
    seconds = _time(layers, space, recipe)
    views, last = (
        {view: max(1, round(1e9 * seconds[view, of_last] / space.heads)) for view in heads} for of_last in (False, True)
    )
    found = DeviceTimes(_machine(recipe), _size(space), views, last, {})
    _write(found, path)
    return found


def table_times(table: ViewTable, space: Space, recipe: Recipe, path: Path) -> dict[str, float] | None:
    """The time of all attention layers of a table, and of Multiall's.

    It is read from the file with the times of views, or measured once and added to it.

    Returns:
        `ms` and `multiall_ms`; None if the file is from another machine, version of torch or number of threads.
    """
    times = _read(path, space, recipe)
    if str(table) not in times.tables:
        if times.machine != _machine(recipe):
            return None
        every, answer = [(0, n) for n in space.tokens.values()], answer_ranges(space.config)
        layers = {
            one: [(layer, every) for layer in one.layers[:-1]] + [(one.layers[-1], answer)]
            for one in (table, space.dense)
        }
        seconds = _time(layers, space, recipe)
        own = {"ms": 1e3 * seconds[table], "multiall_ms": 1e3 * seconds[space.dense]}
        times = replace(times, tables={**times.tables, str(table): own})
        _write(times, path)
    return times.tables[str(table)]


def _time(
    candidates: Mapping[Name, Sequence[tuple[LayerViews, Sequence[Range]]]], space: Space, recipe: Recipe
) -> dict[Name, float]:
    """Seconds of layers one after the other, each with the rows of every modality whose output is read."""
    device = device_of(recipe).type
    dtype = torch.bfloat16 if recipe.train.precision == "bf16-mixed" else torch.float32
    layout = TokenLayout(space.tokens, space.class_tokens)
    # with the strides of the projections in `ViewAttention`
    qkv = torch.randn(1, layout.total, 3, space.heads, space.head_width, device=device, dtype=dtype)
    q, k, v = (t.transpose(1, 2) for t in qkv.unbind(2))

    def attention(layers: Sequence[tuple[LayerViews, Sequence[Range]]]) -> Callable[[], Tensor]:
        grouped = [(layer.ordered(layer.grouped), rows) for layer, rows in layers]

        @torch.inference_mode()
        def run() -> Tensor:
            return [view_attention(q, k, v, layout, layer, queries=rows) for layer, rows in grouped][-1]

        return run

    runs = {name: attention(layers) for name, layers in candidates.items()}
    with stage("timing attention", "rounds"):
        return paired_seconds(runs, device, SECONDS)


def _machine(recipe: Recipe) -> dict[str, str]:
    on_gpu = device_of(recipe).type == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else f"{_processor()}, {torch.get_num_threads()} threads"
    return {"device": device, "torch": torch.__version__, "precision": str(recipe.train.precision)}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _size(space: Space) -> dict[str, Any]:
    return {"tokens": space.tokens, "heads": space.heads, "head_width": space.head_width}


def _read(path: Path, space: Space, recipe: Recipe) -> DeviceTimes:
    try:
        times = DeviceTimes.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SearchError(
            f"{path}: expected the times of views, as `locomt search` with a budget in ms measures them, got something "
            f"else ({error}); remove it to have them measured"
        ) from None
    had = {**times.size, "precision": times.machine["precision"]}
    for name, wanted in {**_size(space), "precision": recipe.train.precision}.items():
        if had[name] != wanted:
            raise SearchError(
                f"{path} holds times for {name} {had[name]}, the recipe now says {wanted}; remove it to have them "
                "measured again, or name another directory"
            )
    if missing := [str(view) for view in space.all_views if view not in times.views]:
        raise SearchError(f"{path} lacks the time of {', '.join(missing)}; remove it to have all measured")
    return times


def _write(times: DeviceTimes, path: Path) -> None:
    write_text(path, to_json(times.to_dict(), indent=2) + "\n")
