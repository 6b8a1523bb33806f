"""The fusion model: towers of unimodal layers, fusion layers that follow the view table, a head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from locomt.nn.attention import ViewMixture
from locomt.nn.block import Block
from locomt.nn.bottleneck import BottleneckBlock
from locomt.nn.config import ConfigError, FusionConfig, unimodal_layers
from locomt.nn.embedding import ModalityEmbedding
from locomt.nn.encoder import EncodedText
from locomt.nn.fusion_plan import Held, Step, answer_rows, plan
from locomt.nn.hub import Pretrained
from locomt.nn.per_modality import PerModality, Streams
from locomt.nn.readout import ReadOut, pooled
from locomt.nn.rows import rows_of
from locomt.nn.timeline import along_time
from locomt.views import SELF, LayerViews, ViewTable
from locomt.views.reads import ALL, NONE, Rows, range_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch.export import ExportedProgram


class Alone(NamedTuple):
    """The answer of a model that is given one modality.

    Attributes:
        logits: of the samples that have it.
        samples: their places in the batch; None where all have it.
    """

    logits: Float[Tensor, "samples *steps outputs"]
    samples: Int[Tensor, " samples"] | None


class Apart(NamedTuple):
    """What each modality has to do with an answer.

    Attributes:
        reads: what each gives the head to read, all together.
        alone: what the model answers to each with the others missing.
    """

    reads: dict[str, ReadOut]
    alone: dict[str, Alone]


class FusionModel(nn.Module, Pretrained):
    """LoCoMT and its baselines: what differs between them is `config.fusion` and the view table.

    Every modality has its embedding and L - L_f unimodal layers, or a text encoder in their place; L_f fusion layers
    run over all modalities' tokens; the head reads the mean of the modalities' [CLS] outputs (or of their tokens: at
    each step with `config.steps`, around each time step with `config.time_steps`). A modality that a sample or the
    whole batch lacks takes no part. One modality alone makes the unimodal baseline.

    What nobody reads is not computed (`locomt.views.reads`): behind the last layer the head reads few tokens, and heads
    leave modalities out.

    Attributes:
        config: may change in what does not change the weights: by `set_views` and `set_answer`.
        everything: compute all rows of all layers, read or not: for those who look at them, and to compare with. The
            answers are the same.
        checkpointing: in training, hold what goes into each layer alone and compute the rest once more for the
            gradients (Chen et al., 2016, arXiv 1604.06174): less memory for a third more FLOPs.
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        self.table: ViewTable | None = config.view_table()
        self.class_tokens = tuple(config.layout.class_tokens.values())
        self.everything = self.checkpointing = False
        self._plans: dict[Any, tuple[Step, ...]] = {}
        names, dim, heads = tuple(config.modalities), config.width, config.num_heads
        unimodal = config.num_layers - config.fusion_layers
        rates = [config.drop_path * i / max(1, config.num_layers - 1) for i in range(config.num_layers)]
        options: dict[str, Any] = {name: getattr(config, name) for name in ("mlp_ratio", "norm_eps", "dropout")}

        self.embeddings = PerModality(names, lambda name: _embedding(config, name, dim))
        self.towers = PerModality(
            names,
            lambda name: nn.ModuleList(
                Block(dim, LayerViews((name,), (SELF,) * heads), drop_path=rate, **options)
                for rate in rates[: unimodal_layers(config, name)]
            ),
        )
        options |= {"shared_weights": config.shared_weights}
        self.fusion = nn.ModuleList()
        for i, rate in enumerate(rates[unimodal:]):
            if self.table is None:
                self.fusion.append(BottleneckBlock(dim, names, heads, drop_path=rate, **options))
            else:
                block = Block(
                    dim,
                    self.table.layers[i],
                    drop_path=rate,
                    on_missing=config.on_missing,
                    class_tokens=config.layout.class_tokens,
                    **options,
                )
                self.fusion.append(block)
        self.bottleneck = None
        if self.table is None:
            self.bottleneck = nn.Parameter(torch.empty(1, config.bottlenecks, dim))
            nn.init.trunc_normal_(self.bottleneck, std=0.02)
        self.norm = PerModality(names, lambda _: nn.LayerNorm(dim, config.norm_eps), shared=config.shared_weights)
        self.head = nn.Linear(dim, config.num_outputs)
        encoders = [module.encoder for module in self.modules() if isinstance(module, EncodedText)]
        foreign = {module for encoder in encoders for module in encoder.modules()}
        for module in self.modules():
            if module not in foreign:
                _init_linear(module)
        if config.head_init == "zero":
            nn.init.zeros_(self.head.weight)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        lengths: Mapping[str, Int[Tensor, " batch"]] | None = None,
        mixture: ViewMixture | None = None,
    ) -> Float[Tensor, "batch *steps outputs"]:
        """Logits (or, for regression, values).

        Args:
            inputs: any non-empty subset of the modalities: video `[B, T, C, S, S]` (uint8 or float), image
                `[B, 1, C, S, S]`, audio `[B, T, mels]`, features `[B, T, dim]`, text `[B, T]` (integer).
            lengths: for each modality `[B]`, how many input steps (frames, vectors, ids) of each sample are real, 0
                where the sample lacks it. A name left out stands for full samples. Best kept on the CPU.
            mixture: of views for every head, weights `[fusion layers, heads, V]`, in place of the table.

        Returns:
            `[B, num_outputs]`, or `[B, T, num_outputs]` with `config.steps` or `config.time_steps`; what it says for
            steps beyond the end of all of a sample's modalities means nothing.

        Raises:
            ValueError: no input, an unknown name, an input of another shape than its spec says, or a mixture for `mbt`.
        """
        given = lengths or {}
        there = self._there(inputs)
        if not self.config.apart:
            held = self._towers(inputs, lengths, self._plan(there, bool(lengths), mixture)[0].inputs)
            return self.logits(self._reads(self._fused(held, mixture), inputs, given, held.tokens))
        unread = [name for name in self.config.modalities if name not in self.config.read]
        inputs = {name: values for name, values in inputs.items() if name not in unread} or inputs
        held = self._towers(inputs, lengths, self._below(self._alone(inputs), bool(lengths), mixture))
        reads: dict[str, ReadOut] = {}
        for name in inputs:
            own = _only(name, held)
            reads |= self._reads(self._fused(own, mixture), {name: inputs[name]}, given, own.tokens)
        return self.logits(reads)

    def apart(
        self,
        inputs: Mapping[str, Tensor],
        lengths: Mapping[str, Int[Tensor, " batch"]] | None = None,
        mixture: ViewMixture | None = None,
    ) -> Apart:
        """What each modality has to do with the answer; arguments as for `forward`.

        The towers run once; the fusion layers once for all modalities together and once for each that the head reads.
        """
        given = lengths or {}
        there, read = self._there(inputs), {name: inputs[name] for name in inputs if name in self.config.read}
        held = self._towers(inputs, lengths, self._below([there, *self._alone(read)], bool(lengths), mixture))
        reads = self._reads(self._fused(held, mixture), inputs, given, held.tokens)
        alone: dict[str, Alone] = {}
        for name in reads:
            has = given[name] > 0 if name in given else None
            if has is not None and bool(has.all()):
                has = None
            elif has is not None and not bool(has.any()):
                continue
            own = _only(name, held)
            own = own._replace(
                streams={n: _those(stream, has) for n, stream in own.streams.items()},
                tokens=None if own.tokens is None else _those(own.tokens, has),
            )
            seen = {n: _those(count, has) for n, count in given.items()}
            found = self._reads(self._fused(own, mixture), {name: inputs[name]}, seen, own.tokens)
            alone[name] = Alone(self.logits(found), None if has is None else has.nonzero()[:, 0])
        return Apart(reads, alone)

    def logits(self, reads: Mapping[str, ReadOut]) -> Float[Tensor, "batch *steps outputs"]:
        """The answer to what the modalities give to read."""
        mean = pooled(reads, self.config.shares)
        return self.head(mean if self.config.steps or self.config.time_steps else mean[:, 0])  # type: ignore[no-any-return]

    def _there(self, inputs: Mapping[str, Tensor]) -> Rows:
        """The rows that a batch has."""
        names = tuple(self.config.modalities)
        if not inputs or any(name not in names for name in inputs):
            raise ValueError(
                f"expected inputs for one or more of {', '.join(names)}, got {', '.join(inputs) or 'none'}"
            )
        return tuple(ALL if name in inputs else NONE for name in names)

    def _alone(self, names: Iterable[str]) -> list[Rows]:
        """The rows that a batch of each modality alone has."""
        return [tuple(ALL if n == name else NONE for n in self.config.modalities) for name in names]

    def _plan(self, there: Rows, padded: bool, mixture: ViewMixture | None) -> tuple[Step, ...]:
        """What each fusion layer computes.

        Args:
            there: the rows that the batch has.
            padded: whether samples may lack what the batch has.
            mixture: as for `forward`.
        """
        if self.everything:
            return (Step(there, there, True, True),) * len(self.fusion)
        key = (there, padded, None if mixture is None else mixture.views)
        if key not in self._plans:
            self._plans[key] = plan(self.config, self.table, *key)
        return self._plans[key]

    def _below(self, theres: Iterable[Rows], padded: bool, mixture: ViewMixture | None) -> Rows:
        """The rows of what the towers give that batches of these read, all together."""
        plans = (self._plan(there, padded, mixture) for there in theres)
        return tuple(reduce(or_, rows) for rows in zip(*(steps[0].inputs for steps in plans), strict=True))

    def _towers(self, inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor] | None, rows: Rows) -> Held:
        """Every modality's tokens behind its unimodal layers, none of those that the batch lacks or nobody reads."""
        names = tuple(self.config.modalities)
        wanted = {name: rows[i] for i, name in enumerate(names) if rows[i]}
        given = lengths or {}
        embedded = {name: self.embeddings[name](inputs[name], given.get(name)) for name in wanted}
        like = next(iter(embedded.values()), next(self.parameters()))
        empty = like.new_empty(next(iter(inputs.values())).shape[0], 0, self.config.width)
        streams: Streams = {name: embedded.get(name, empty) for name in names}
        tokens = self._token_lengths(streams, lengths) if lengths else None
        for i, name in enumerate(names):
            if name in wanted:
                own = None if tokens is None else tokens[:, i : i + 1]
                tower = self.towers.of(name)
                assert isinstance(tower, nn.ModuleList)
                few = None
                if wanted[name] != ALL:
                    few = range_of(wanted[name], streams[name].shape[1], self.class_tokens[i])
                for block in tower[:-1]:
                    streams |= self._layer(block, {name: streams[name]}, own)
                for block in tower[-1:]:
                    streams |= self._layer(block, {name: streams[name]}, own, None, few and (few,))
                if few and not len(tower):
                    streams[name] = rows_of(streams[name], few)
        return Held(streams, rows, tokens, self._there(inputs))

    def _fused(self, held: Held, mixture: ViewMixture | None) -> Streams:
        """The tokens behind the fusion layers that the head reads, and no others."""
        if mixture is not None and self.bottleneck is not None:
            raise ValueError("expected no mixture of views: a model of fusion 'mbt' follows none")
        batch = next(iter(held.streams.values())).shape[0]
        bottleneck = None if self.bottleneck is None else self.bottleneck.expand(batch, -1, -1)
        for i, (block, step) in enumerate(
            zip(self.fusion, self._plan(held.there, held.tokens is not None, mixture), strict=True)
        ):
            held = held.cut(step.inputs, self.class_tokens)
            outputs = None if step.whole else held.ranges(step.outputs, self.class_tokens)
            lengths = held.lengths(self.class_tokens)
            if bottleneck is None:
                own = mixture and ViewMixture(mixture.views, mixture.weights[i])
                streams = self._layer(block, held.streams, lengths, own, outputs)
            else:
                streams, bottleneck = self._layer(block, held.streams, bottleneck, lengths, outputs, step.updates)
            held = held._replace(streams=streams, rows=step.outputs)
        return held.cut(tuple(map(and_, answer_rows(self.config), held.there)), self.class_tokens).streams

    def _layer(self, block: nn.Module, *arguments: Any) -> Any:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False)
        return block(*arguments)

    def compile_layers(self, **options: Any) -> None:
        """Compile every layer by itself: layers of one kind share what is compiled, and the model as a whole, which
        takes several times as long, gains little by it. Every token count is compiled for itself, up to
        `torch._dynamo.config.recompile_limit` kinds of layers, counts and ways to run; what comes later runs as it is.

        Args:
            options: as `torch.compile` takes them.
        """
        for module in self.modules():
            if isinstance(module, Block):
                module.compile(dynamic=False, **options)

    def _reads(
        self,
        streams: Streams,
        inputs: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor],
        tokens: Tensor | None,
    ) -> dict[str, ReadOut]:
        if self.config.time_steps:
            return self._over_time(streams, inputs, lengths, tokens)
        return self._of_samples(streams, tokens)

    def set_views(self, table: ViewTable, *, regroup: bool = False) -> None:
        """Follow another view table with the same weights, and say so in `config`.

        The outputs are those of a new model of that table with this one's state dict.

        Args:
            table: as many layers and heads, over the same modalities.
            regroup: as for `ViewAttention.set_views`: for a table that stays.

        Raises:
            ValueError: the table does not fit, or the model is `mbt`, which follows none.
        """
        if self.table is None:
            raise ValueError("a model of fusion 'mbt' follows no view table; views can be set for the others")
        had, came = (
            f"{len(t.layers)} layers of {t.num_heads} heads over {', '.join(t.modalities)}" for t in (self.table, table)
        )
        if had != came:
            raise ValueError(f"expected a view table of {had}, got {came}")
        for block, views in zip(self.fusion, table.layers, strict=True):
            assert isinstance(block, Block)
            block.attention.set_views(views, regroup=regroup)
        self.table = table
        self.config = replace(self.config, fusion="locomt", views=str(table))
        self._plans.clear()

    def _token_lengths(self, streams: Streams, lengths: Mapping[str, Tensor]) -> Tensor:
        """`[B, m]`: every sample's tokens of every modality."""
        like = next(iter(lengths.values()))
        return torch.stack(
            [
                self.embeddings[name].token_lengths(lengths[name])  # type: ignore[operator]
                if name in lengths and tokens.shape[1]
                else torch.full_like(like, tokens.shape[1])
                for name, tokens in streams.items()
            ],
            dim=1,
        )

    def set_answer(self, shares: Mapping[str, float], *, apart: bool = False) -> None:
        """Put the answer together so from what the modalities say, and say so in `config`.

        Args:
            shares: how much each counts in the mean that the head reads; without any, all count alike.
            apart: whether each is looked at with the others missing.
        """
        self.config = replace(self.config, shares=dict(shares), apart=apart)

    def _of_samples(self, streams: Streams, tokens: Tensor | None) -> dict[str, ReadOut]:
        """[CLS] of each modality, or with `config.steps` its tokens at each step."""
        reads: dict[str, ReadOut] = {}
        for i, (name, stream) in enumerate(streams.items()):
            if stream.shape[1] == 0:
                continue
            part = self.norm.of(name)(stream)
            if not self.config.steps and part.shape[1] > 1:
                part = part.mean(dim=1, keepdim=True)
            real = None
            if tokens is not None:
                # [CLS] is real where there is any token, step t (from 1) where there are more than t.
                place = torch.arange(part.shape[1], device=tokens.device) + bool(self.config.steps)
                real = tokens[:, i : i + 1] > place
            reads[name] = ReadOut(part, real)
        if not reads or any(read.values.shape != part.shape for read in reads.values()):
            counts = ", ".join(f"{n}: {streams[n].shape[1]}" for n in self.config.steps)
            raise ValueError(f"expected as many steps from each of config.steps, got {counts or 'none'}")
        return reads

    def _over_time(
        self,
        streams: Streams,
        inputs: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor],
        tokens: Tensor | None,
    ) -> dict[str, ReadOut]:
        """What the tokens of each modality with a time axis say around each time step."""
        outputs, steps, counts = {}, {}, {}
        device = next(iter(lengths.values())).device if lengths else None  # best the CPU, see `forward`
        for i, (name, stream) in enumerate(streams.items()):
            if stream.shape[1] == 0:
                continue
            spec = self.config.modalities[name]
            beside = math.prod(spec.grid[1:])  # tokens of the same time
            output = self.norm.of(name)(stream)
            outputs[name] = output.unflatten(1, (-1, beside)).mean(dim=2)
            steps[name] = lengths.get(name, torch.full((1,), inputs[name].shape[1], device=device))
            if tokens is None:
                counts[name] = torch.full((1,), outputs[name].shape[1], device=device)
            else:
                counts[name] = (tokens[:, i] - spec.class_tokens).clamp(min=0) // beside
        if not outputs:
            raise ValueError(
                f"expected inputs for one or more of {', '.join(self.config.pace)}, which have a time axis"
            )
        return along_time(self.config, outputs, steps, counts)

    def export(self) -> ExportedProgram:
        """The model as a graph of torch's own operators, see `locomt.nn.graph`: of any batch size and times, with
        lengths of 0 for what samples lack. `locomt export` makes a bundle of it that answers files.

        Raises:
            ConfigError: it has a text encoder, which is not exported.
        """
        from locomt.nn.graph import export_graph

        return export_graph(self)

    def example_inputs(self, batch: int = 1, device: torch.device | str | None = None) -> dict[str, Tensor]:
        """Random full-length inputs, for costing, timing and tracing."""
        device = device or next(self.parameters()).device
        return {name: spec.example_input(batch, device) for name, spec in self.config.modalities.items()}


def _only(name: str, held: Held) -> Held:
    """The tokens of one modality, as of a batch that lacks the others."""
    chosen = [n == name for n in held.streams]
    tokens = held.tokens
    return Held(
        {n: stream if n == name else rows_of(stream, (0, 0)) for n, stream in held.streams.items()},
        tuple(rows if own else NONE for rows, own in zip(held.rows, chosen, strict=True)),
        None if tokens is None else tokens * torch.tensor(chosen, device=tokens.device),
        tuple(rows if own else NONE for rows, own in zip(held.there, chosen, strict=True)),
    )


def _those(values: Tensor, has: Tensor | None) -> Tensor:
    """The samples of a batch that have something."""
    return values if has is None else values[has.to(values.device)]


def _embedding(config: FusionConfig, name: str, dim: int) -> ModalityEmbedding:
    try:
        return ModalityEmbedding(config.modalities[name], dim, config.dropout, config.token_dropout)
    except ConfigError as error:  # of a text's encoder
        raise ConfigError(f"modality {name!r}: {error}") from None


def _init_linear(module: nn.Module) -> None:
    """As in ViT (Dosovitskiy et al., 2021)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
