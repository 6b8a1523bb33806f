"""What a model computes of each modality in each layer, as numbers from which its cost follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from locomt.layout import TokenLayout
from locomt.nn.config import FusionConfig, unimodal_layers
from locomt.nn.fusion_plan import Step, answer_rows, plan
from locomt.nn.rows import Work, work
from locomt.views import SELF, LayerViews
from locomt.views.reads import ALL, NONE, Range, Rows, range_of


@dataclass(frozen=True)
class Pass:
    """One modality's tokens on their way through one layer.

    Attributes:
        tokens: that the layer is given.
        stored: of how many tokens they are a slice.
        projected: tokens times heads, of queries, keys and values together.
        attended: tokens times heads, of what the attention gives to be projected.
        outputs: tokens that the layer gives.
        pairs: the scores of these queries, all heads.
        fused: whether it is a fusion layer.
        whole: whether all that there is to compute is computed, by fewer copies.
        attends: whether any modality's queries are.
        normed: tokens that are held to be projected, in a batch of several samples: some of those that are given are a
            copy, unless it is one of each sample.
        weights: numbers of weights that are copied, being some of all.
        attention_matters: whether the loss depends on what its attention gives to anyone.
        output_matters: whether the loss depends on what the layer makes of these tokens.
    """

    tokens: int
    stored: int
    normed: int
    projected: int
    attended: int
    outputs: int
    pairs: int
    fused: bool
    whole: bool = True
    attends: bool = True
    weights: int = 0
    attention_matters: bool = True
    output_matters: bool = True


def read_modalities(config: FusionConfig, tokens: Mapping[str, int]) -> list[str]:
    """Those that are there and whose outputs the head reads."""
    return [name for name, count in tokens.items() if count and name in config.read]


def alone(tokens: Mapping[str, int], name: str) -> dict[str, int]:
    """Of a batch that has one modality only."""
    return {n: count if n == name else 0 for n, count in tokens.items()}


def rows_of_batch(tokens: Mapping[str, int]) -> Rows:
    """The rows that a batch of so many tokens has."""
    return tuple(ALL if count else NONE for count in tokens.values())


def steps_of(config: FusionConfig, tokens: Mapping[str, int], everything: bool) -> tuple[Step, ...]:
    """What every fusion layer computes of a batch of full samples."""
    there = rows_of_batch(tokens)
    if everything:
        return (Step(there, there, True),) * config.fusion_layers
    return plan(config, config.view_table(), there, False, None)


def query_pairs(config: FusionConfig, layer: LayerViews, tokens: Mapping[str, int]) -> dict[str, int]:
    """The scores of each modality's queries, all heads."""
    return layer.query_pairs(tokens, config.layout.class_tokens, own=config.on_missing == "self")


def passes(config: FusionConfig, tokens: Mapping[str, int], everything: bool) -> Iterator[Pass]:
    """Every modality of which anything is computed, layer by layer.

    Args:
        config: of the model.
        tokens: of every modality, 0 where it is missing.
        everything: as for `locomt.cost.flops`. With `steps` or `time_steps`, autograd leaves out what nobody reads
            even so: of a fusion layer that follows a table, the part behind the attention; of MBT's, all of it.
    """
    if config.apart:
        for name in read_modalities(config, tokens):
            yield from passes(replace(config, apart=False), alone(tokens, name), everything)
        return
    steps = steps_of(config, tokens, everything)
    for name, rows in zip(tokens, steps[0].inputs, strict=True):
        if rows:
            yield from _tower(config, name, tokens[name], rows, everything)
    fused = _bottlenecks if config.fusion == "mbt" else _layers
    yield from fused(config, tokens, steps, everything)


def _tower(config: FusionConfig, name: str, count: int, rows: int, everything: bool) -> Iterator[Pass]:
    layers, heads = unimodal_layers(config, name), config.num_heads
    read = name in config.read
    # Below bottlenecks it acts on the others if there is a layer to do it through.
    matters = not everything or read or config.fusion != "mbt" or config.fusion_layers > 1
    whole = Pass(
        count, count, count, 3 * heads * count, heads * count, count, heads * count**2, False,
        attention_matters=matters, output_matters=matters,
    )  # fmt: skip
    if rows == ALL:
        yield from repeat(whole, layers)
    elif layers:
        yield from repeat(whole, layers - 1)
        own = range_of(rows, count, config.modalities[name].class_tokens)
        yield from _some(config, _joint(config, count, own), (count,), (count,), (count * heads,), fused=False)


def _joint(config: FusionConfig, count: int, rows: Range) -> Work:
    views = LayerViews(("tokens",), (SELF,) * config.num_heads)
    return work((views,), TokenLayout({"tokens": count}), (rows,), 0)


def _some(
    config: FusionConfig,
    todo: Work,
    tokens: Sequence[int],
    stored: Sequence[int],
    keys: Sequence[int],
    *,
    fused: bool,
) -> Iterator[Pass]:
    """Of a layer of which not all is computed: `keys` are those that a query of each modality sees, all heads."""
    numbers = config.width**2 // config.num_heads  # of a head's weights
    for i, parts in enumerate(todo.parts):
        rows = [_count([part.rows]) for part in parts]
        copies = [n for n in rows if 1 < n < tokens[i]]
        heads = [_count([part.tensors]) * _count(part.runs) for part in parts]
        outputs, seeing = todo.outputs[i][1] - todo.outputs[i][0], _count(todo.heads[i])
        copied = [n for n, slices in zip(heads, todo.before[i].chosen, strict=True) if len(slices) > 1]
        copied += [seeing] * (len(todo.heads[i]) > 1)
        if parts or outputs:
            yield Pass(
                tokens=tokens[i],
                stored=stored[i],
                normed=sum(copies) + tokens[i] * (len(copies) < len(rows)),
                projected=sum(n * h for n, h in zip(rows, heads, strict=True)),
                attended=outputs * seeing,
                outputs=outputs,
                pairs=outputs * keys[i],
                fused=fused,
                whole=False,
                attends=any(todo.parts),
                weights=numbers * sum(copied),
                attention_matters=bool(parts),
                output_matters=outputs > 0,
            )


def _count(runs: Sequence[Range]) -> int:
    return sum(last - first for first, last in runs)


def _layers(config: FusionConfig, tokens: Mapping[str, int], steps: Sequence[Step], everything: bool) -> Iterator[Pass]:
    table, heads = config.view_table(), config.num_heads
    assert table is not None
    first = config.layout.class_tokens
    own = int(config.on_missing == "self")
    for number, (layer, step) in enumerate(zip(table.layers, steps, strict=True)):
        last = number == len(steps) - 1
        pairs = query_pairs(config, layer, tokens)
        if step.whole:
            for name, count in tokens.items():
                if count:
                    read = not everything or not last or name in config.read
                    yield Pass(
                        count,
                        count,
                        count,
                        3 * heads * count,
                        heads * count,
                        count,
                        pairs[name],
                        True,
                        output_matters=read,
                    )
            continue
        held = {
            name: _size(rows, count, first[name])
            for (name, count), rows in zip(tokens.items(), step.inputs, strict=True)
        }
        outputs = tuple(
            range_of(ALL if rows == given else rows, held[name], first[name])
            for name, rows, given in zip(tokens, step.outputs, step.inputs, strict=True)
        )
        todo = work((layer.ordered(layer.grouped),), TokenLayout(held, first), outputs, own)
        sliced = number == 0  # of embeddings that no layer comes behind
        stored = [tokens[n] if sliced and not unimodal_layers(config, n) else count for n, count in held.items()]
        keys = [pairs[name] // count if count else 0 for name, count in tokens.items()]
        yield from _some(config, todo, tuple(held.values()), stored, keys, fused=True)


def _bottlenecks(
    config: FusionConfig, tokens: Mapping[str, int], steps: Sequence[Step], everything: bool
) -> Iterator[Pass]:
    heads, more = config.num_heads, config.bottlenecks
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        for (name, count), rows in zip(tokens.items(), step.outputs, strict=True):
            joint = count + more
            start, end = range_of(rows, count, config.modalities[name].class_tokens)
            if step.whole or (step.updates and end == count):
                if count:
                    matters = not everything or name in config.read or not last
                    yield Pass(
                        joint, joint, joint, 3 * heads * joint, heads * joint, joint, heads * joint**2, True,
                        attention_matters=matters, output_matters=matters,
                    )  # fmt: skip
            elif count and (step.updates or end > start):
                own = (0 if step.updates else more + start, more + end)
                yield from _some(config, _joint(config, joint, own), (joint,), (joint,), (joint * heads,), fused=True)


def _size(rows: int, count: int, class_tokens: int) -> int:
    first, last = range_of(rows, count, class_tokens)
    return last - first


def last_outputs(config: FusionConfig, tokens: Mapping[str, int]) -> dict[str, int]:
    """How many tokens of each modality the last layer gives."""
    step = steps_of(config, tokens, everything=False)[-1]
    found = zip(tokens.items(), step.outputs, answer_rows(config), strict=True)
    return {
        name: _size(rows, count, config.modalities[name].class_tokens) for (name, count), rows, read in found if read
    }
