"""The `train:` section of a recipe: how a model is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from locomt.data.subsection import make_section
from locomt.nn.config import INFLATIONS
from locomt.nn.fields import LARGEST
from locomt.require import require as _require
from locomt.train.augment_config import AugmentConfig
from locomt.train.views import VIEWS, ViewTraining
from locomt.train.views.learned_config import LearnViews

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("32", "bf16-mixed")
SAMPLINGS = ("shuffled", "balanced")
TABLES = ("self", "cross", "random")
MOST = {"epochs": 10**6, "patience": 10**6, "batch_size": 2**20, "accumulate": 2**20, "devices": 1024}
"""What a slip of the key may not ask for."""
HIGHEST = 1e30
"""Of rates, norms and decays: what is far beyond use, and still a number where weights are kept in float32."""
LOGGERS, NO_LOGGER = ("tensorboard", "csv", "wandb", "mlflow"), "none"
ACCELERATORS = ("auto", "cpu", "cuda")


class RecipeError(ValueError):
    """A recipe that cannot serve: says where, what was expected and what came."""


require = partial(_require, error=RecipeError)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained: the `train:` section of a recipe.

    The defaults are the paper's where it states them (section 3: cross-entropy, 20 epochs, SGD with momentum
    0.9, cosine schedule).

    Attributes:
        epochs: passes over the training split.
        epoch_samples: how many training samples an epoch takes, at random; all where left out or where there are not
            so many. For large data: validation and the best weights come once an epoch.
        patience: stop where so many epochs in a row were none better than the best before them; 0 never stops. Which is
            the best is told as for the weights that are kept, see `monitor`. The schedule stays that of all `epochs`.
        refit: train once more, on the training and validation splits together, for as many epochs as validation chose,
            and keep that model. See `locomt.train.refit`.
        batch_size: samples a step, or of each of its batches where `accumulate` is above 1.
        accumulate: batches a step, one after the other: the gradient is that of one batch of so many times the samples,
            up to rounding, in the memory of one. An epoch's last step has the batches that are left. What is drawn
            (augmentation, dropout, stochastic depth, views) is drawn for each batch.
        optimizer: `sgd` (with momentum) or `adamw`.
        learning_rate: the peak rate, reached after the warm-up.
        learning_rates: peak rates of parts of the model that have one of their own: a modality (its embedding and
            unimodal layers), `fusion` (the fusion layers and norms), `head`, and `<modality>.encoder` of a text that
            has one.
        frozen: parts of the model, named alike, that stay as they are: without gradients, dropout and stochastic depth.
        pretrained: modality -> what its tower starts from: a finished run that has the modality, or a checkpoint: a
            folder, or an id on the Hugging Face hub; see `locomt.nn.pretrained.fill_towers`.
        inflation: how a pretrained patch embedding is spread over a tubelet: `central` or `average`.
        start: a finished run, or the `model/` of one, that all weights start from. It may have other views.
        views: `fixed`, the model's table, or `elastic`: other tables at every step, so that any of them runs from the
            weights that come out; see `locomt.train.views.elastic`. `learned`: the table is found in training, see
            `locomt.train.views.learned`. Only for `model.fusion` locomt.
        elastic_tables: those of a step of `elastic`, a pass each: `self`, `cross` (all heads), `random`.
        learn_views: how they are learned; a mapping such as `{"budget": 0.5}` is turned into a `LearnViews`.
        momentum: of `sgd`.
        weight_decay: not applied to biases, norms, positions, [CLS] and bottleneck tokens.
        warmup_epochs: linear warm-up from 0, in epochs; fractions are allowed. Then the rate follows a cosine
            to 0.
        unimodal_loss: most that the loss of each modality by itself counts: of what the model answers with the others
            missing (in the spirit of Wang, Tran and Feiszli, CVPR 2020). So no modality stays untrained because another
            is learned by heart first. What it counts follows what the validation split says: see
            `locomt.train.by_modality.ByModality.worth`. The split also says how much each modality counts in the answer
            (`shares` in the model's `config.json`), and whether each is looked at with the others missing (`apart`).
            While it counts the fusion layers run once more for each modality in training; at inference nothing is
            added. Without a validation split, or with 0, there are no such losses.
        label_smoothing: share of the target spread evenly over all classes, in [0, 1). Not for regression.
        clip_norm: largest norm of the gradient; longer ones are scaled down. 0 turns it off.
        ema: decay of an exponential moving average of the weights over the steps, in [0, 1), such as 0.999. What is
            validated, kept and exported are the averages, see `locomt.train.averaging.WeightAverage`. 0 turns it off.
        precision: `32` or `bf16-mixed`.
        sampling: `shuffled`, no training sample more than once an epoch, or `balanced`, as many drawn with replacement
            so that rare classes come as often as frequent ones. Not for regression.
        augment: changes to the training batches, off by default. A mapping such as `{"mixup": 0.5}` is turned into a
            `locomt.train.augment_config.AugmentConfig`.
        seed: of the initial weights, the order of the data, augmentation, dropout and stochastic depth.
        monitor: the validation metric that chooses the best epoch, with or without `val_` in front. Left out: accuracy,
            mAP or mae by task.
        accelerator: `auto` (a CUDA device where there is one), `cpu` or `cuda`.
        devices: how many of them share the samples of each step; with `cpu` processes.
        checkpointing: hold of each layer what goes in alone, and compute the rest once more for the gradients: the same
            result in less memory, for a third more FLOPs.
        checkpoint_minutes: time from one checkpoint to the next within a long epoch; 0 for none.
        deterministic: the same result again on the same GPU, with torch's and our own deterministic kernels, some of
            which are slower; a CPU gives the same result again either way.
        logger: where the numbers of every epoch go besides `metrics.csv`: `tensorboard`, `csv`, `wandb`, `mlflow`, or a
            list of these, or `none`. The last two are packages of their own. See `locomt.train.loggers`.
        compile: run the model's layers through `torch.compile`.
    """

    epochs: int = 20
    epoch_samples: int | None = None
    patience: int = 0
    refit: bool = False
    batch_size: int = 64
    accumulate: int = 1
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    learning_rates: dict[str, float] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    pretrained: dict[str, str] = field(default_factory=dict)
    inflation: str = "central"
    start: str | None = None
    views: str = "fixed"
    elastic_tables: tuple[str, ...] = ("cross", "random", "random")
    learn_views: Any = field(default_factory=dict)
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    unimodal_loss: float = 1.0
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    ema: float = 0.0
    precision: str | int = "32"
    sampling: str = "shuffled"
    augment: Any = field(default_factory=dict)
    seed: int = 0
    monitor: str | None = None
    accelerator: str = "auto"
    devices: int = 1
    checkpointing: bool = False
    checkpoint_minutes: float = 10.0
    deterministic: bool = False
    logger: str | tuple[str, ...] = ("tensorboard",)
    compile: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", str(self.precision))  # YAML reads 32 as a number
        if self.monitor is not None:  # `val_accuracy` is what it is called in all that a run writes
            object.__setattr__(self, "monitor", self.monitor.removeprefix("val_"))
        for name, kind, example in (
            ("augment", AugmentConfig, "{mixup: 0.5, ...}"),
            ("learn_views", LearnViews, "{budget: 0.5, ...}"),
        ):
            object.__setattr__(self, name, make_section(kind, getattr(self, name), f"train.{name}", example))
        for name in ("frozen", "elastic_tables"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        wanted = (self.logger,) if isinstance(self.logger, str) else tuple(dict.fromkeys(self.logger))
        object.__setattr__(self, "logger", () if wanted == (NO_LOGGER,) else wanted)
        known = f"{', '.join(LOGGERS)}, {NO_LOGGER}"
        for name in self.logger:
            require(name in LOGGERS, f"train.logger: expected one or more of {known}, got {name!r}")
        for name, choices in (
            ("optimizer", OPTIMIZERS),
            ("inflation", INFLATIONS),
            ("precision", PRECISIONS),
            ("sampling", SAMPLINGS),
            ("views", VIEWS),
            ("accelerator", ACCELERATORS),
        ):
            value = getattr(self, name)
            require(value in choices, f"train.{name}: expected one of {', '.join(choices)}, got {value!r}")
        require(
            bool(self.elastic_tables) and set(self.elastic_tables) <= set(TABLES),
            f"train.elastic_tables: expected one or more of {', '.join(TABLES)}, got {list(self.elastic_tables)}",
        )
        for name in ("epochs", "epoch_samples", "patience", "batch_size", "accumulate", "devices"):
            value, least = getattr(self, name), 0 if name == "patience" else 1
            require(value is None or value >= least, f"train.{name}: expected {least} or more, got {value}")
            most = MOST.get(name, LARGEST)
            require(value is None or value <= most, f"train.{name}: expected at most {most:,}, got {value or 0:,}")
        from_zero = ("weight_decay", "warmup_epochs", "unimodal_loss", "clip_norm", "checkpoint_minutes")
        for name in ("learning_rate", *from_zero):
            require(math.isfinite(getattr(self, name)), f"train.{name}: expected a number, got {getattr(self, name)}")
        for name in (*from_zero, "seed"):
            require(getattr(self, name) >= 0, f"train.{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("momentum", "label_smoothing", "ema"):
            value = getattr(self, name)
            require(0 <= value < 1, f"train.{name}: expected [0, 1), got {value}")
        require(
            self.start is None or not self.pretrained,
            f"train.start: all weights come from {self.start}; leave train.pretrained out",
        )
        require(self.learning_rate > 0, f"train.learning_rate: expected above 0, got {self.learning_rate}")
        rates = {name: getattr(self, name) for name in ("learning_rate", "weight_decay", "unimodal_loss", "clip_norm")}
        for name, number in (
            rates | {f"learning_rates.{part}": rate for part, rate in self.learning_rates.items()}
        ).items():
            require(number <= HIGHEST, f"train.{name}: expected at most {HIGHEST:g}, got {number:g}")
        for part, rate in self.learning_rates.items():
            require(rate > 0, f"train.learning_rates.{part}: expected above 0, got {rate}; train.frozen holds it still")
            require(part not in self.frozen, f"train.frozen: {part!r} has a rate in train.learning_rates too")
        require(
            self.warmup_epochs <= self.epochs,
            f"train.warmup_epochs {self.warmup_epochs} is longer than train.epochs {self.epochs}; 0 is none",
        )
        self.view_training.check(self)
        require(
            not (self.refit and self.view_training.changes),
            f"train.refit is for views that stay, and train.views is {self.views!r}; refit the table that it finds",
        )
        require(self.seed < 2**32, f"train.seed: expected below 2**32, got {self.seed}")

    @property
    def view_training(self) -> ViewTraining:
        """What `views` means."""
        return VIEWS[self.views]
