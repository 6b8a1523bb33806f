"""What a fusion model is made of: frozen dataclasses, validated when made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeGuard

from locomt.layout import TokenLayout
from locomt.views import STRATEGIES, ViewError, ViewTable, check_modalities

PRESETS = {  # the ViT sizes of Touvron et al. (2021) and Dosovitskiy et al. (2021)
    "tiny": {"dim": 192, "heads": 3, "depth": 12},
    "small": {"dim": 384, "heads": 6, "depth": 12},
    "base": {"dim": 768, "heads": 12, "depth": 12},
}
FUSIONS = ("locomt", "selfall", "multiall", "mbt")
ON_MISSING = ("zero", "self")
INFLATIONS = ("central", "average")
HEAD_INITS = ("xavier", "zero")


class ConfigError(ValueError):
    """A configuration that cannot be built: says which field, what it wants and what came."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_positive(owner: object, where: str, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        _require(value >= 1, f"{where}{name}: expected 1 or more, got {value}")


@dataclass(frozen=True, kw_only=True)
class VideoSpec:
    """Frames `[B, frames, channels, size, size]`, cut into patches of `tubelet` x `patch` x `patch`."""

    kind: ClassVar[str] = "video"
    class_tokens: ClassVar[int] = 1
    frames: int = 8
    size: int = 224
    patch: int = 16
    tubelet: int = 1
    channels: int = 3

    def __post_init__(self) -> None:
        _require_positive(self, "video ", "frames", "size", "patch", "tubelet", "channels")
        _require(
            self.size % self.patch == 0,
            f"video size {self.size} is no multiple of its patch {self.patch}",
        )
        _require(
            self.frames % self.tubelet == 0,
            f"video frames {self.frames} is no multiple of its tubelet {self.tubelet}",
        )

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along time, height and width."""
        side = self.size // self.patch
        return (self.frames // self.tubelet, side, side)

    @property
    def step(self) -> int:
        """Input steps (frames) from one token to the next along the token grid's time axis."""
        return self.tubelet

    @property
    def window(self) -> int:
        """Input steps (frames) that one token spans; `step` or, where tokens overlap, more."""
        return self.tubelet

    @property
    def max_steps(self) -> int:
        """Input steps (frames) of a full-length sample."""
        return self.frames


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """A log-mel spectrogram `[B, frames, mels]`, cut into square patches.

    Attributes:
        stride: frames and bands from one patch to the next. 0 stands for `patch`; less than `patch` makes them overlap,
            as those of AST do (Gong et al., Interspeech 2021: 10). What no whole patch fits into at the end is then
            left out.
        class_tokens: tokens in front of the patches, of whose outputs the head reads the mean: 1, the [CLS], or 2, with
            AST's distillation token.
    """

    kind: ClassVar[str] = "audio"
    frames: int = 800
    mels: int = 128
    patch: int = 16
    stride: int = 0
    class_tokens: int = 1

    def __post_init__(self) -> None:
        _require_positive(self, "audio ", "frames", "mels", "patch", "class_tokens")
        _require(
            0 <= self.stride <= self.patch,
            f"audio stride: expected 0 to the patch of {self.patch}, got {self.stride}",
        )
        for name in ("frames", "mels"):
            size = getattr(self, name)
            _require(size >= self.patch, f"audio {name} {size} is less than its patch {self.patch}")
            _require(
                size % self.patch == 0 or self.step < self.patch,
                f"audio {name} {size} is no multiple of its patch {self.patch}",
            )

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along time and frequency."""
        return ((self.frames - self.patch) // self.step + 1, (self.mels - self.patch) // self.step + 1)

    @property
    def step(self) -> int:
        return self.stride or self.patch

    @property
    def window(self) -> int:
        return self.patch

    @property
    def max_steps(self) -> int:
        return self.frames


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A sequence of feature vectors `[B, time, dim]`, a token each."""

    kind: ClassVar[str] = "features"
    class_tokens: ClassVar[int] = 1
    step: ClassVar[int] = 1
    window: ClassVar[int] = 1
    dim: int
    max_length: int

    def __post_init__(self) -> None:
        _require_positive(self, "features ", "dim", "max_length")

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def max_steps(self) -> int:
        return self.max_length


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """Token ids `[B, time]` below `vocabulary`.

    Attributes:
        encoder: the configuration of a transformers model, as in its `config.json`, whose last hidden states become the
            tokens and which takes the place of the unimodal layers; see `locomt.nn.encoder`. None: ids are looked up.
    """

    kind: ClassVar[str] = "text"
    class_tokens: ClassVar[int] = 1
    step: ClassVar[int] = 1
    window: ClassVar[int] = 1
    vocabulary: int
    max_length: int
    encoder: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "text ", "vocabulary", "max_length")
        if self.encoder is None:
            return
        _require(
            isinstance(self.encoder, Mapping) and "model_type" in self.encoder,
            f"text encoder: expected the config.json of a transformers model, got {self.encoder!r:.60}",
        )
        for name, here in (("vocab_size", self.vocabulary), ("max_position_embeddings", self.max_length)):
            most = self.encoder.get(name)
            _require(
                not isinstance(most, int) or here <= most,
                f"text: the encoder's {name} is {most}, less than the {here} that the tokenizer or max_length asks for",
            )

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.max_length,)

    @property
    def max_steps(self) -> int:
        return self.max_length


ModalitySpec = VideoSpec | AudioSpec | FeatureSpec | TextSpec
SPECS: dict[str, type[ModalitySpec]] = {spec.kind: spec for spec in (VideoSpec, AudioSpec, FeatureSpec, TextSpec)}


def token_count(spec: ModalitySpec) -> int:
    """L_i of a full-length sample, its class tokens counted."""
    return math.prod(spec.grid) + spec.class_tokens


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
        for name, value, choices in (
            ("preset", self.preset, tuple(PRESETS)),
            ("fusion", self.fusion, FUSIONS),
            ("strategy", self.strategy, STRATEGIES),
            ("on_missing", self.on_missing, ON_MISSING),
            ("head_init", self.head_init, HEAD_INITS),
        ):
            _require(value in choices, f"model.{name}: expected one of {', '.join(choices)}, got {value!r}")
        for name, size in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, size)
        _require_positive(self, "model.", "dim", "heads", "depth", "bottlenecks")
        _require(
            self.width % self.num_heads == 0,
            f"model.dim {self.dim} is no multiple of model.heads {self.heads}",
        )
        _require(
            1 <= self.fusion_layers <= self.num_layers,
            f"model.fusion_layers: expected 1 to model.depth = {self.depth}, got {self.fusion_layers}",
        )
        for name in ("dropout", "token_dropout", "drop_path"):
            _require(0 <= getattr(self, name) < 1, f"model.{name}: expected [0, 1), got {getattr(self, name)}")
        _require(0 <= self.cross <= 1, f"model.cross: expected [0, 1], got {self.cross}")
        _require(self.mlp_ratio > 0, f"model.mlp_ratio: expected more than 0, got {self.mlp_ratio}")
        _require(self.norm_eps > 0, f"model.norm_eps: expected more than 0, got {self.norm_eps}")
        _require(
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
        time_steps: T, answers along time, each from the tokens around it of all modalities with a time axis (all but
            text); 0 for none. See `locomt.nn.timeline`.
        pace: how many input steps (frames, vectors) of such a modality one of the time steps lasts. Left out for one
            whose longest input lasts as long as all of them.
    """

    modalities: Mapping[str, ModalitySpec] = field(default_factory=dict)
    num_outputs: int = 0
    steps: tuple[str, ...] = ()
    time_steps: int = 0
    pace: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "modalities", dict(self.modalities))
        object.__setattr__(self, "steps", tuple(self.steps))
        check_modalities(self.modalities)
        _require(self.num_outputs >= 1, f"num_outputs: expected 1 or more, got {self.num_outputs}")
        for name in self.steps:
            _require(name in self.modalities, f"steps: {name!r} is not one of {', '.join(self.modalities)}")
            spec = self.modalities[name]
            _require(
                len(spec.grid) == 1,
                f"steps: modality {name!r} is {spec.kind}; only features and text have a token a step",
            )
        self._fill_pace()
        self.view_table()

    def _fill_pace(self) -> None:
        _require(self.time_steps >= 0, f"time_steps: expected 0 or more, got {self.time_steps}")
        timed = {name: spec for name, spec in self.modalities.items() if not isinstance(spec, TextSpec)}
        for name, pace in self.pace.items():
            _require(name in timed, f"pace: {name!r} is not one of the modalities with a time axis, {', '.join(timed)}")
            _require(0 < pace < math.inf, f"pace: expected of {name!r} more than 0 input steps, got {pace}")
        if not self.time_steps:
            _require(not self.pace, "pace: expected time_steps, how many steps there are, beside it")
            return
        _require(not self.steps, "time_steps: the labels belong to time steps or to steps, not to both; leave one out")
        _require(bool(timed), "time_steps: expected a modality with a time axis: video, audio or features")
        filled = {name: self.pace.get(name, spec.max_steps / self.time_steps) for name, spec in timed.items()}
        object.__setattr__(self, "pace", filled)

    @property
    def read(self) -> tuple[str, ...]:
        """The modalities whose outputs the head reads."""
        return self.steps or tuple(self.pace) or tuple(self.modalities)

    @property
    def layout(self) -> TokenLayout:
        """Token counts of full-length samples."""
        return TokenLayout({name: token_count(spec) for name, spec in self.modalities.items()})

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
        _require(
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
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FusionConfig:
        """The reverse of `to_dict`.

        Raises:
            ConfigError: an unknown or missing field or kind of modality.
        """
        values = dict(values)
        _check_fields(cls, values, "configuration")
        specs = {}
        for name, entry in dict(values.get("modalities", {})).items():
            entry = dict(entry)
            kind = entry.pop("kind", None)
            _require(kind in SPECS, f"modality {name!r}: expected kind {', '.join(SPECS)}, got {kind!r}")
            _check_fields(SPECS[kind], entry, f"modality {name!r}")
            specs[name] = SPECS[kind](**entry)
        return cls(**{**values, "modalities": specs})


def encodes(spec: ModalitySpec) -> TypeGuard[TextSpec]:
    """Whether it is a text whose tokens a pretrained encoder makes."""
    return isinstance(spec, TextSpec) and spec.encoder is not None


def unimodal_layers(config: FusionConfig, name: str) -> int:
    """How many layers a modality has below the fusion layers: L - L_f, none above a text encoder."""
    return 0 if encodes(config.modalities[name]) else config.num_layers - config.fusion_layers


def _check_fields(cls: type, values: Mapping[str, Any], where: str) -> None:
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(cls)}
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"{where}: unknown field {unknown[0]!r}; the fields are {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in values]:
        raise ConfigError(f"{where}: field {missing[0]!r} is missing")
