"""What a fusion model is made of: frozen dataclasses, validated when made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from locomt.layout import TokenLayout
from locomt.nn.fields import LONG, MOST_PARAMETERS, WIDE, check_sizes, check_types
from locomt.nn.modalities import MODALITIES, AudioSpec, FeatureSpec, ImageSpec, ModalitySpec, TextSpec, VideoSpec
from locomt.require import ConfigError, require
from locomt.views import MOST_HEADS, MOST_LAYERS, STRATEGIES, ViewError, ViewTable, check_modalities

__all__ = [
    "FUSIONS",
    "HEAD_INITS",
    "INFLATIONS",
    "ON_MISSING",
    "PRESETS",
    "Architecture",
    "AudioSpec",
    "ConfigError",
    "FeatureSpec",
    "FusionConfig",
    "ImageSpec",
    "ModalitySpec",
    "TextSpec",
    "VideoSpec",
    "own_parameters",
    "unimodal_layers",
]

PRESETS = {  # the ViT sizes of Touvron et al. (2021) and Dosovitskiy et al. (2021)
    "tiny": {"dim": 192, "heads": 3, "depth": 12},
    "small": {"dim": 384, "heads": 6, "depth": 12},
    "base": {"dim": 768, "heads": 12, "depth": 12},
}
FUSIONS = ("locomt", "selfall", "multiall", "mbt")
ON_MISSING = ("zero", "self")
INFLATIONS = ("central", "average")
HEAD_INITS = ("xavier", "zero")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything about a model but what goes in and what comes out: the `model:` section of a recipe.

    Attributes:
        preset: ViT size that gives `dim`, `heads` and `depth` where they are not given: tiny, small or base.
        dim: width of a token.
        heads: attention heads a layer; divides `dim`.
        depth: L, all layers of a modality, unimodal and fusion ones together.
        fusion_layers: L_f, how many of them, at the top, are fusion layers.
        fusion: `locomt` (follows the view table), `selfall`, `multiall` or `mbt` (bottleneck tokens).
        views: the view table in text form, a line a fusion layer; only for `locomt`. Left out, `strategy`,
            `cross` and `views_seed` make it.
        strategy: one of `locomt.views.STRATEGIES`.
        cross: fraction of the fusion layers' heads that are cross, in [0, 1].
        views_seed: of strategy `random`.
        bottlenecks: B, the bottleneck tokens of `mbt`.
        shared_weights: one set of fusion weights for all modalities instead of one each.
        on_missing: what a head sees where the modality it looks to is missing from a sample: `zero` (nothing)
            or `self` (its own modality).
        mlp_ratio: hidden width of a feed-forward layer over `dim`.
        norm_eps: what layer norms add to the variance; ViT and AST checkpoints were trained with 1e-12.
        head_init: weights that the head starts from: `xavier` (uniform) or `zero`, as in MBT's public code, which
            leaves pretrained towers as they are until the head has a direction.
        dropout: after embeddings, attention and feed-forward projections.
        token_dropout: share of the tokens (patches, feature vectors, subwords) whose content is blanked in training;
            their positions stay.
        drop_path: stochastic depth of the topmost layer, from 0 at the lowest in a straight line.
    """

    preset: str = "tiny"
    dim: int | None = None
    heads: int | None = None
    depth: int | None = None
    fusion_layers: int = 4
    fusion: str = "locomt"
    views: str | None = None
    strategy: str = "spread"
    cross: float = 0.5
    views_seed: int = 0
    bottlenecks: int = 4
    shared_weights: bool = False
    on_missing: str = "zero"
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-5
    head_init: str = "xavier"
    dropout: float = 0.0
    token_dropout: float = 0.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        check_types(self, "model.")
        for name, value, choices in (
            ("preset", self.preset, tuple(PRESETS)),
            ("fusion", self.fusion, FUSIONS),
            ("strategy", self.strategy, STRATEGIES),
            ("on_missing", self.on_missing, ON_MISSING),
            ("head_init", self.head_init, HEAD_INITS),
        ):
            require(value in choices, f"model.{name}: expected one of {', '.join(choices)}, got {value!r}")
        for name, size in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, size)
        check_sizes(self, "model.", dim=WIDE, heads=MOST_HEADS, depth=MOST_LAYERS, bottlenecks=LONG)
        require(
            self.width % self.num_heads == 0,
            f"model.dim {self.dim} is no multiple of model.heads {self.heads}",
        )
        require(
            1 <= self.fusion_layers <= self.num_layers,
            f"model.fusion_layers: expected 1 to model.depth = {self.depth}, got {self.fusion_layers}",
        )
        for name in ("dropout", "token_dropout", "drop_path"):
            require(0 <= getattr(self, name) < 1, f"model.{name}: expected [0, 1), got {getattr(self, name)}")
        require(0 <= self.cross <= 1, f"model.cross: expected [0, 1], got {self.cross}")
        require(
            0 < self.mlp_ratio <= 1024, f"model.mlp_ratio: expected more than 0, at most 1,024, got {self.mlp_ratio}"
        )
        require(0 < self.norm_eps <= 1, f"model.norm_eps: expected above 0, at most 1, got {self.norm_eps}")
        require(
            self.views is None or self.fusion == "locomt",
            f"model.views is for model.fusion 'locomt'; {self.fusion!r} has a table of its own",
        )

    # The three sizes once __post_init__ has filled them in, for callers that need a plain int.
    @property
    def width(self) -> int:
        assert self.dim is not None
        return self.dim

    @property
    def num_heads(self) -> int:
        assert self.heads is not None
        return self.heads

    @property
    def num_layers(self) -> int:
        assert self.depth is not None
        return self.depth


@dataclass(frozen=True, kw_only=True)
class FusionConfig(Architecture):
    """A whole model.

    Attributes:
        modalities: name -> spec, in the order in which the tokens are concatenated.
        num_outputs: classes, labels or regression targets.
        steps: modalities whose tokens are aligned with the labels, one label a step; empty for one answer a
            sample from the averaged [CLS].
        time_steps: T, answers along time, each from the tokens around it of all modalities with a time axis; 0 for
            none. See `locomt.nn.timeline`.
        pace: how many input steps (frames, vectors) of such a modality one of the time steps lasts. Left out for one
            whose longest input lasts as long as all of them.
        shares: how much each modality counts in the mean that the head reads, 1 for those left out; empty where all
            count alike.
        apart: whether the fusion layers look at each modality with the others missing, so that the head reads what
            each says by itself. It costs no more: no token looks at another modality's.
    """

    modalities: Mapping[str, ModalitySpec] = field(default_factory=dict)
    num_outputs: int = 0
    steps: tuple[str, ...] = ()
    time_steps: int = 0
    pace: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    apart: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self)
        object.__setattr__(self, "modalities", dict(self.modalities))
        object.__setattr__(self, "steps", tuple(self.steps))
        check_modalities(self.modalities)
        check_sizes(self, "", num_outputs=LONG)
        for name in self.steps:
            require(name in self.modalities, f"steps: {name!r} is not one of {', '.join(self.modalities)}")
            spec = self.modalities[name]
            require(
                len(spec.grid) == 1,
                f"steps: modality {name!r} is {spec.kind}; expected a kind whose every step is one token",
            )
        self._fill_pace()
        for name, share in self.shares.items():
            require(name in self.read, f"shares: {name!r} is not one of {', '.join(self.read)}, which the head reads")
            require(0 < share < math.inf, f"shares: expected of {name!r} a number above 0, got {share}")
        count = own_parameters(self)
        require(
            count <= MOST_PARAMETERS,
            f"model of {count:,} parameters, {4 * count / 2**30:,.0f} GiB in float32: that fits no machine; lower "
            "model.dim, model.depth, or what the modalities hold",
        )
        self.view_table()

    def _fill_pace(self) -> None:
        require(self.time_steps >= 0, f"time_steps: expected 0 or more, got {self.time_steps}")
        require(self.time_steps <= LONG, f"time_steps: expected at most {LONG:,}, got {self.time_steps:,}")
        timed = {name: spec for name, spec in self.modalities.items() if spec.has_time}
        for name, pace in self.pace.items():
            require(name in timed, f"pace: {name!r} is not one of the modalities with a time axis, {', '.join(timed)}")
            require(0 < pace < math.inf, f"pace: expected of {name!r} more than 0 input steps, got {pace}")
        if not self.time_steps:
            require(not self.pace, "pace: expected time_steps, how many steps there are, beside it")
            return
        require(not self.steps, "time_steps: the labels belong to time steps or to steps, not to both; leave one out")
        kinds = ", ".join(kind for kind, spec in MODALITIES.items() if spec.has_time)
        require(bool(timed), f"time_steps: expected a modality with a time axis, of kind {kinds}")
        filled = {name: self.pace.get(name, spec.max_steps / self.time_steps) for name, spec in timed.items()}
        object.__setattr__(self, "pace", filled)

    @property
    def read(self) -> tuple[str, ...]:
        """The modalities whose outputs the head reads."""
        return self.steps or tuple(self.pace) or tuple(self.modalities)

    def untrained(self) -> FusionConfig:
        """Without what training has found: how the answer is put together."""
        return replace(self, shares={}, apart=False)

    @property
    def layout(self) -> TokenLayout:
        """Token counts of full-length samples."""
        specs = self.modalities
        return TokenLayout(
            {name: spec.tokens for name, spec in specs.items()},
            {name: spec.class_tokens for name, spec in specs.items()},
        )

    def view_table(self) -> ViewTable | None:
        """The views that the fusion layers follow; None for `mbt`, which has a module of its own.

        Raises:
            ConfigError: the table does not fit `heads` and `fusion_layers`.
        """
        names, layers, heads = tuple(self.modalities), self.fusion_layers, self.num_heads
        if self.fusion == "mbt":
            return None
        if self.fusion != "locomt":
            return ViewTable.uniform("self" if self.fusion == "selfall" else "multi", names, layers, heads)
        if self.views is None:
            return ViewTable.strategy(
                self.strategy, names, layers=layers, heads=heads, cross=self.cross, seed=self.views_seed
            )
        try:
            table = ViewTable.parse(self.views, names)
        except ViewError as error:
            raise ConfigError(f"model.views: {error}") from None
        require(
            (len(table.layers), table.num_heads) == (layers, heads),
            f"model.views: expected {layers} lines of {heads} heads (model.fusion_layers, model.heads), "
            f"got {len(table.layers)} lines of {table.num_heads}",
        )
        return table

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["modalities"] = {n: {"kind": s.kind, **asdict(s)} for n, s in self.modalities.items()}
        values["steps"] = list(self.steps)
        values["pace"] = dict(self.pace)
        values["shares"] = dict(self.shares)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FusionConfig:
        """The reverse of `to_dict`.

        Raises:
            ConfigError: an unknown or missing field or kind of modality.
        """
        values = _check_fields(cls, values, "configuration")
        specs = {}
        modalities = values.get("modalities", {})
        require(isinstance(modalities, Mapping), f"modalities: expected name: {{kind: ...}}, got {modalities!r:.60}")
        for name, entry in modalities.items():
            require(isinstance(entry, Mapping), f"modality {name!r}: expected {{kind: ...}}, got {entry!r:.60}")
            kind = entry.get("kind")
            known = isinstance(kind, str) and kind in MODALITIES
            require(known, f"modality {name!r}: expected kind {', '.join(MODALITIES)}, got {kind!r:.60}")
            rest = {field: value for field, value in entry.items() if field != "kind"}
            specs[name] = MODALITIES[kind](**_check_fields(MODALITIES[kind], rest, f"modality {name!r}"))
        return cls(**{**values, "modalities": specs})


def unimodal_layers(config: FusionConfig, name: str) -> int:
    """How many layers a modality has below the fusion layers: L - L_f, none where an encoder takes their place."""
    encoded = config.modalities[name].encoder is not None
    return 0 if encoded else config.num_layers - config.fusion_layers


def own_parameters(config: FusionConfig) -> int:
    """Trainable numbers of a model, without text encoders and what projects their states."""
    dim, hidden = config.width, int(config.width * config.mlp_ratio)
    block = 4 * dim + (3 * dim * dim + 3 * dim) + (dim * dim + dim) + (2 * dim * hidden + hidden + dim)
    sets = 1 if config.shared_weights else len(config.modalities)
    total = sum(unimodal_layers(config, name) for name in config.modalities) * block
    total += config.fusion_layers * sets * block + sets * 2 * dim
    for spec in config.modalities.values():
        total += spec.parameters(dim)
        total += spec.class_tokens * dim + math.prod(spec.grid) * dim
    if config.fusion == "mbt":
        total += config.bottlenecks * dim
    return total + dim * config.num_outputs + config.num_outputs


def _check_fields(cls: type, values: Any, where: str) -> dict[str, Any]:
    """The values as a dictionary, if they are the fields of the class."""
    require(isinstance(values, Mapping), f"{where}: expected fields and their values, got {values!r:.60}")
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(cls)}
    if unknown := sorted(map(str, set(values) - set(known))):
        raise ConfigError(f"{where}: unknown field {unknown[0]!r}; the fields are {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in values]:
        raise ConfigError(f"{where}: field {missing[0]!r} is missing")
    return dict(values)
