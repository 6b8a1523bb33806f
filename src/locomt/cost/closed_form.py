"""What a model costs, from its configuration alone: FLOPs, parameters and the memory of a training step.

Nothing is built or run, but for a text encoder (`locomt.cost.embeddings`). A multiply-add counts as 2 FLOPs; softmax,
norms, additions and GELU are not counted. The attention of one head of width d costs 4 d C forward, C being the score
pairs of its view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from locomt.cost.embeddings import embedding_backward_flops, embedding_bytes, embedding_flops, encoder_parameters
from locomt.cost.passes import alone, last_outputs, passes, query_pairs, read_modalities, steps_of
from locomt.nn.config import FUSIONS, FusionConfig, own_parameters
from locomt.nn.fusion_plan import answer_ranges
from locomt.views import View

CONVENTION = (
    "1 multiply-add = 2 FLOPs; matrix products and attention (4 d C a head) counted, "
    "softmax, norms and elementwise operations not; forward pass of one sample"
)


class CostError(ValueError):
    """Token counts that the model cannot have: says which, what was expected and what came."""


@dataclass(frozen=True)
class Flops:
    """FLOPs by part.

    Attributes:
        embedding: the projections of patches and vectors to tokens, and text encoders; looking up token ids is free.
        linear: query, key, value and output projections and feed-forward layers.
        attention: scores and weighted sums of all unimodal and fusion layers.
        head: the classifier, and for answers along time the weighted sums of tokens that it reads.
    """

    embedding: int
    linear: int
    attention: int
    head: int

    @property
    def total(self) -> int:
        return self.embedding + self.linear + self.attention + self.head


def variants(config: FusionConfig) -> dict[str, FusionConfig]:
    """LoCoMT and its baselines at one size: the model of each name in `locomt.nn.config.FUSIONS`.

    Where `config` is itself a baseline, its `strategy` and `cross` make the table of `locomt`; one modality alone
    has nothing to look across, so that all heads are self.
    """
    cross = config.cross if len(config.modalities) > 1 else 0.0
    others = {name: replace(config.untrained(), fusion=name, views=None, cross=cross) for name in FUSIONS}
    return others | {config.fusion: config}


def token_counts(config: FusionConfig, tokens: Mapping[str, int] | None = None) -> dict[str, int]:
    """L_i of every modality, [CLS] counted, in the configuration's order.

    Args:
        tokens: those of the modalities that are there; one that is left out or 0 is missing. None: all are full.

    Raises:
        CostError: an unknown name, a count that is negative or above the configured one, or nothing left to read.
    """
    full = config.layout.as_dict()
    counts = full if tokens is None else {name: tokens.get(name, 0) for name in full}
    if config.apart:  # nobody looks at what the head does not read
        counts = {name: count if name in config.read else 0 for name, count in counts.items()}
    for name, count in {**(tokens or {}), **counts}.items():
        if name not in full:
            raise CostError(f"tokens: {name!r} is not one of {', '.join(full)}")
        if not 0 <= count <= full[name]:
            raise CostError(f"tokens: modality {name!r} has 0 to {full[name]} tokens, got {count}")
    read = read_modalities(config, counts)
    if not read:
        raise CostError(f"tokens: expected some from one or more of {', '.join(config.read)}, got none")
    if config.steps and len({counts[name] for name in read}) > 1:
        raise CostError(f"tokens: expected as many from each of steps, got { ({name: counts[name] for name in read}) }")
    return counts


def _answers(config: FusionConfig, tokens: Mapping[str, int]) -> int:
    """How many answers the head gives a sample."""
    if config.time_steps:
        return config.time_steps
    return tokens[read_modalities(config, tokens)[0]] - 1 if config.steps else 1


def _shares(config: FusionConfig, tokens: Mapping[str, int]) -> int:
    """The shares that tokens have in answers along time: an entry of a matrix for each of both."""
    if not config.time_steps:
        return 0
    specs = {name: config.modalities[name] for name in read_modalities(config, tokens)}
    along = sum((tokens[name] - spec.class_tokens) // math.prod(spec.grid[1:]) for name, spec in specs.items())
    return config.time_steps * along


def fusion_pairs(config: FusionConfig, tokens: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """C of each fusion layer, all heads: what the view table (or MBT) takes at these token counts.

    That of all rows, as the paper counts and as the guarantee is about; `computed_pairs` is what is computed.
    """
    counts = token_counts(config, tokens)
    if config.apart:
        one = replace(config, apart=False)
        each = (fusion_pairs(one, alone(counts, name)) for name, count in counts.items() if count)
        return tuple(map(sum, zip(*each, strict=True)))
    table = config.view_table()
    if table is None:
        pairs = config.num_heads * sum((n + config.bottlenecks) ** 2 for n in counts.values() if n)
        return (pairs,) * config.fusion_layers
    return tuple(sum(query_pairs(config, layer, counts).values()) for layer in table.layers)


def computed_pairs(config: FusionConfig, tokens: Mapping[str, int] | None = None) -> int:
    """C of all fusion layers together, all heads, of the queries that somebody reads."""
    return sum(step.pairs for step in passes(config, token_counts(config, tokens), everything=False) if step.fused)


def head_pairs(config: FusionConfig, view: View) -> tuple[int, ...]:
    """C of one head of a view in each fusion layer, from the lowest up, as far as what it reads goes by the layer.

    Of all queries but in the last layer, where it is of those that the head of the model reads. A table computes
    (`computed_pairs`) what that comes to over its heads, or less where its views leave more unread.
    """
    tokens = config.layout.as_dict()
    pairs = view.query_pairs(tokens, config.layout.class_tokens)
    rows = dict(zip(tokens, answer_ranges(config), strict=True))
    last = sum(own // tokens[name] * (rows[name][1] - rows[name][0]) for name, own in pairs.items())
    return (sum(pairs.values()),) * (config.fusion_layers - 1) + (last,)


def _hidden(config: FusionConfig) -> int:
    return int(config.width * config.mlp_ratio)


def flops(
    config: FusionConfig,
    tokens: Mapping[str, int] | None = None,
    batch: int = 1,
    backward: bool = False,
    *,
    everything: bool = True,
) -> Flops:
    """FLOPs of the forward pass, or of forward and backward together.

    Backward, a linear layer costs twice its forward (the gradients of its input and of its weight), the embeddings
    once (inputs need no gradient; a text encoder costs what is counted), attention 2.5 times (the scores anew and four
    products for the gradients). The counts are those of `torch.utils.flop_counter`, exactly. Padding within a batch is
    charged as what it pads to.

    Args:
        tokens: as for `token_counts`.
        batch: samples.
        everything: count all rows of all layers, as the paper does: what the guarantee, its headlines and comparisons
            of models are stated in. If not, count what is computed: what somebody reads (`locomt.views.reads`).

    Raises:
        CostError: see `token_counts`.
    """
    counts = token_counts(config, tokens)
    dim, hidden, head_dim = config.width, _hidden(config), config.width // config.num_heads
    embedded = _embedded(config, counts, everything)
    embedding = sum(embedding_flops(config.modalities[name], count, dim) for name, count in embedded.items())
    linear = attention = 0
    for step in passes(config, counts, everything):
        before, behind = (
            step.projected * head_dim * dim,
            step.attended * head_dim * dim + step.outputs * 2 * dim * hidden,
        )
        linear += 2 * (before + behind)
        attention += 4 * head_dim * step.pairs
        if backward:
            linear += 4 * (before * step.attention_matters + behind * step.output_matters)
            attention += 10 * head_dim * step.pairs * step.attention_matters
    head = 2 * _answers(config, counts) * dim * config.num_outputs
    resampling = 2 * _shares(config, counts) * dim
    if backward:
        embedding += sum(
            embedding_backward_flops(config.modalities[name], count, dim)
            for name, count in embedded.items()
            if not everything or _embedding_matters(config, name)
        )
        head, resampling = 3 * head, 2 * resampling  # the shares need no gradient
    return Flops(batch * embedding, batch * linear, batch * attention, batch * (head + resampling))


def _embedded(config: FusionConfig, tokens: Mapping[str, int], everything: bool) -> dict[str, int]:
    """How many tokens the embeddings make of the modalities that are embedded: all but the class tokens."""
    each = [alone(tokens, name) for name in read_modalities(config, tokens)] if config.apart else [tokens]
    found = {}
    for some in each:
        for (name, count), rows in zip(some.items(), steps_of(config, some, everything)[0].inputs, strict=True):
            if rows:
                found[name] = count - config.modalities[name].class_tokens
    return found


def _embedding_matters(config: FusionConfig, name: str) -> bool:
    """Whether autograd goes down to it where everything is computed; see `passes`."""
    return config.fusion != "mbt" or config.fusion_layers > 1 or name in config.read


def parameters(config: FusionConfig) -> int:
    """Trainable numbers of the model."""
    encoders = sum(encoder_parameters(spec, config.width) for spec in config.modalities.values())
    return own_parameters(config) + encoders


def activation_bytes(
    config: FusionConfig,
    tokens: Mapping[str, int] | None = None,
    batch: int = 1,
    dtype_bytes: int = 4,
    *,
    checkpointing: bool = False,
) -> int:
    """Activation memory of a training step: what autograd holds for the backward pass when the forward has ended.

    Of what is computed: what somebody reads (`locomt.views.reads`).

    Each storage is counted once: patches and vectors as they are projected (token ids in 8 bytes), the input and the
    output of every norm, queries, keys and values, the attention's output, the feed-forward layer's hidden state on
    both sides of its GELU, the classifier's input; per token, the norms' means and deviations and a log-sum-exp a head
    in float32 or wider; with dropout, its masks as the CPU keeps them, in the activations' dtype; what a text encoder
    holds without dropout of its own. Not counted:
    parameters, their gradients, the optimiser's state, what kernels need while they run, autocast's copies of
    weights, and the few numbers a sample that stochastic depth and lengths take.

    Args:
        tokens: as for `token_counts`.
        batch: samples.
        dtype_bytes: of the activations: 4 for float32, 2 for bf16 and fp16.
        checkpointing: whether each layer holds what goes in alone: then also what the largest of them holds, which is
            there once more while its gradients are found.

    Raises:
        CostError: see `token_counts`.
    """
    counts = token_counts(config, tokens)
    dim, masks = config.width, int(config.dropout > 0)
    numbers = other = 0
    blanks = int(config.token_dropout > 0)  # a number per token, [CLS] is never blanked
    for name, made in _embedded(config, counts, everything=False).items():
        numbers += made * blanks + masks * counts[name] * dim
        other += embedding_bytes(config.modalities[name], made, dim, dtype_bytes)
    held = fusion_bytes(config, counts, batch, dtype_bytes, checkpointing) + batch * (numbers * dtype_bytes + other)
    towers, fused = (_layer_bytes(config, counts, batch, dtype_bytes, fused=own) for own in (False, True))
    if not checkpointing:
        return held + sum(towers)
    inputs = _input_bytes(config, counts, batch, dtype_bytes, fused=False)
    return held + inputs + max(*towers, sum(fused) // config.fusion_layers, 0)


def fusion_bytes(
    config: FusionConfig, tokens: Mapping[str, int], batch: int, dtype_bytes: int, checkpointing: bool = False
) -> int:
    """What of it the fusion layers hold, and what comes behind them; arguments as for `activation_bytes`."""
    counts = token_counts(config, tokens)
    read, answers = read_modalities(config, counts), _answers(config, counts)
    numbers = (sum(last_outputs(config, counts).values()) + answers) * config.width
    if config.time_steps:  # what every modality counts at each of them, and their sum
        numbers += answers * (len(read) + 1)
    statistics = 0
    for name in read:
        first = config.modalities[name].class_tokens
        statistics += 2 * (counts[name] - first if config.steps or config.time_steps else first)
    behind = batch * (numbers * dtype_bytes + statistics * max(4, dtype_bytes))
    behind += _shares(config, counts) * dtype_bytes  # which all samples of full length have in common
    if checkpointing:
        return behind + _input_bytes(config, counts, batch, dtype_bytes, fused=True)
    return behind + sum(_layer_bytes(config, counts, batch, dtype_bytes, fused=True))


def _input_bytes(config: FusionConfig, counts: Mapping[str, int], batch: int, dtype_bytes: int, *, fused: bool) -> int:
    """What goes into the unimodal or the fusion layers."""
    stored = sum(step.stored for step in passes(config, counts, everything=False) if step.fused == fused)
    return batch * stored * config.width * dtype_bytes


def _layer_bytes(
    config: FusionConfig, counts: Mapping[str, int], batch: int, dtype_bytes: int, *, fused: bool
) -> list[int]:
    """What each modality holds in each of the unimodal or of the fusion layers."""
    dim, hidden, masks = config.width, _hidden(config), int(config.dropout > 0)
    # Of several modalities in a batch, each one's share of the attention's output has gaps, and projecting it copies.
    several = sum(map(bool, counts.values())) > 1 and not config.apart
    copies = int(fused and batch > 1 and config.fusion != "mbt" and several)
    found = []
    for step in passes(config, counts, everything=False):
        if step.fused != fused:
            continue
        numbers = statistics = weights = 0
        if step.attention_matters:
            # The norm's input and output, of which rows are copied where samples have others between.
            numbers += (step.stored + (step.normed if batch > 1 else step.tokens)) * dim
            statistics += step.tokens * 2
        if step.attends:
            numbers += step.tokens * dim * 4  # queries, keys, values, what they attend to
            statistics += step.tokens * config.num_heads
        if step.output_matters:
            numbers += step.outputs * (dim * (2 + copies * step.whole + 2 * masks) + 2 * hidden)
            statistics += step.outputs * 2
        if not step.whole:  # what is taken of the attention's output is a copy
            numbers += step.attended * dim // config.num_heads
            weights += step.weights
        found.append(batch * (numbers * dtype_bytes + statistics * max(4, dtype_bytes)) + weights * dtype_bytes)
    return found
