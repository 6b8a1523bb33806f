"""The fusion model: towers of unimodal layers, fusion layers that follow the view table, a head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from locomt.nn.attention import ViewMixture
from locomt.nn.block import Block
from locomt.nn.bottleneck import BottleneckBlock
from locomt.nn.config import ConfigError, FusionConfig, unimodal_layers
from locomt.nn.embedding import ModalityEmbedding
from locomt.nn.encoder import EncodedText
from locomt.nn.hub import Pretrained
from locomt.nn.per_modality import PerModality, Streams
from locomt.nn.readout import ReadOut, pooled
from locomt.nn.timeline import along_time
from locomt.views import SELF, LayerViews, ViewTable

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        self.table: ViewTable | None = config.view_table()
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
        if not self.config.apart:
            streams, tokens = self._towers(inputs, lengths)
            return self.logits(self._reads(self._fused(streams, tokens, mixture), inputs, given, tokens))
        unread = [name for name in self.config.modalities if name not in self.config.read]
        inputs = {name: values for name, values in inputs.items() if name not in unread} or inputs
        streams, tokens = self._towers(inputs, lengths)
        reads: dict[str, ReadOut] = {}
        for name in inputs:
            own, counts = _only(name, streams, tokens)
            reads |= self._reads(self._fused(own, counts, mixture), {name: inputs[name]}, given, counts)
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
        streams, tokens = self._towers(inputs, lengths)
        reads = self._reads(self._fused(streams, tokens, mixture), inputs, given, tokens)
        alone: dict[str, Alone] = {}
        for name in reads:
            has = given[name] > 0 if name in given else None
            if has is not None and bool(has.all()):
                has = None
            elif has is not None and not bool(has.any()):
                continue
            own, counts = _only(name, streams, tokens)
            own = {n: _those(stream, has) for n, stream in own.items()}
            counts = None if counts is None else _those(counts, has)
            seen = {n: _those(count, has) for n, count in given.items()}
            read = self._reads(self._fused(own, counts, mixture), {name: inputs[name]}, seen, counts)
            alone[name] = Alone(self.logits(read), None if has is None else has.nonzero()[:, 0])
        return Apart(reads, alone)

    def logits(self, reads: Mapping[str, ReadOut]) -> Float[Tensor, "batch *steps outputs"]:
        """The answer to what the modalities give to read."""
        mean = pooled(reads, self.config.shares)
        return self.head(mean if self.config.steps or self.config.time_steps else mean[:, 0])  # type: ignore[no-any-return]

    def _towers(
        self, inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor] | None
    ) -> tuple[Streams, Tensor | None]:
        """Every modality's tokens behind its unimodal layers, none of those that the batch lacks; and `[B, m]`, how
        many are real, where lengths are given."""
        names = tuple(self.config.modalities)
        if not inputs or any(name not in names for name in inputs):
            raise ValueError(
                f"expected inputs for one or more of {', '.join(names)}, got {', '.join(inputs) or 'none'}"
            )
        first = next(iter(inputs.values()))
        empty = self.head.weight.new_zeros(first.shape[0], 0, self.config.width)
        given = lengths or {}
        streams: Streams = {
            name: self.embeddings[name](inputs[name], given.get(name)) if name in inputs else empty for name in names
        }
        tokens = self._token_lengths(streams, lengths) if lengths else None
        for i, name in enumerate(names):
            if name in inputs:
                own = None if tokens is None else tokens[:, i : i + 1]
                tower = self.towers.of(name)
                assert isinstance(tower, nn.ModuleList)
                for block in tower:
                    streams |= block({name: streams[name]}, own)
        return streams, tokens

    def _fused(self, streams: Streams, tokens: Tensor | None, mixture: ViewMixture | None) -> Streams:
        """The tokens behind the fusion layers."""
        if self.bottleneck is None:
            for i, block in enumerate(self.fusion):
                streams = block(streams, tokens, mixture and ViewMixture(mixture.views, mixture.weights[i]))
            return streams
        if mixture is not None:
            raise ValueError("expected no mixture of views: a model of fusion 'mbt' follows none")
        batch = next(iter(streams.values())).shape[0]
        bottleneck = self.bottleneck.expand(batch, -1, -1)
        for block in self.fusion:
            streams, bottleneck = block(streams, bottleneck, tokens)
        return streams

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
            if stream.shape[1] == 0 or (self.config.steps and name not in self.config.steps):
                continue
            first = self.config.modalities[name].class_tokens
            part = self.norm.of(name)(stream[:, first:] if self.config.steps else stream[:, :first])
            if not self.config.steps and first > 1:
                part = part.mean(dim=1, keepdim=True)
            real = None
            if tokens is not None:
                # [CLS] is real where there is any token, step t (from 1) where there are more than t.
                place = torch.arange(part.shape[1], device=tokens.device) + bool(self.config.steps)
                real = tokens[:, i : i + 1] > place
            reads[name] = ReadOut(part, real)
        if len({tuple(read.values.shape) for read in reads.values()}) != 1:
            counts = ", ".join(f"{n}: {streams[n].shape[1] - 1}" for n in self.config.steps)
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
            if name not in self.config.pace or stream.shape[1] == 0:
                continue
            spec = self.config.modalities[name]
            beside = math.prod(spec.grid[1:])  # tokens of the same time
            output = self.norm.of(name)(stream[:, spec.class_tokens :])
            outputs[name] = output.unflatten(1, (-1, beside)).mean(dim=2)
            steps[name] = lengths.get(name, torch.tensor([inputs[name].shape[1]], device=device))
            if tokens is None:
                counts[name] = torch.tensor([outputs[name].shape[1]], device=device)
            else:
                counts[name] = (tokens[:, i] - spec.class_tokens).clamp(min=0) // beside
        if not outputs:
            raise ValueError(
                f"expected inputs for one or more of {', '.join(self.config.pace)}, which have a time axis"
            )
        return along_time(self.config, outputs, steps, counts)

    def example_inputs(self, batch: int = 1, device: torch.device | str | None = None) -> dict[str, Tensor]:
        """Random full-length inputs, for costing, timing and tracing."""
        device = device or self.head.weight.device
        return {name: spec.example_input(batch, device) for name, spec in self.config.modalities.items()}


def _only(name: str, streams: Streams, tokens: Tensor | None) -> tuple[Streams, Tensor | None]:
    """The tokens of one modality, as of a batch that lacks the others; and how many are real, where that is told."""
    own = {n: stream if n == name else stream[:, :0] for n, stream in streams.items()}
    return own, None if tokens is None else tokens * torch.tensor([n == name for n in streams], device=tokens.device)


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
