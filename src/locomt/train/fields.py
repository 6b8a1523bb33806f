"""Every field of a recipe, section by section: type, default, choices, and what the docstring of its dataclass says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from dataclasses import fields as fields_of
from typing import Any

from locomt.data.config import DECODERS
from locomt.data.kinds import KINDS
from locomt.data.kinds.audio import FILTERBANKS
from locomt.data.kinds.source import LACKING
from locomt.data.split_config import SplitConfig
from locomt.hints import unknown_name
from locomt.nn.config import FUSIONS, HEAD_INITS, INFLATIONS, ON_MISSING, PRESETS
from locomt.tasks import TASKS
from locomt.train.augment_config import AugmentConfig
from locomt.train.config import ACCELERATORS, LOGGERS, NO_LOGGER, OPTIMIZERS, PRECISIONS, SAMPLINGS, TABLES
from locomt.train.recipe import SECTIONS
from locomt.train.views import VIEWS
from locomt.train.views.learned_config import LearnViews
from locomt.views import STRATEGIES

MODALITIES = "data.modalities"
PARTS = {"data.split": SplitConfig, "train.augment": AugmentConfig, "train.learn_views": LearnViews}
"""Fields that have fields of their own."""
CHOICES: dict[str, tuple[str, ...]] = {
    "model.preset": tuple(PRESETS),
    "model.fusion": FUSIONS,
    "model.strategy": tuple(STRATEGIES),
    "model.on_missing": ON_MISSING,
    "model.head_init": HEAD_INITS,
    "data.task": tuple(TASKS),
    "data.decoder": DECODERS,
    "data.modalities.filterbank": FILTERBANKS,
    "data.modalities.on_no_stream": LACKING,
    "data.modalities.on_silent": LACKING,
    "train.optimizer": OPTIMIZERS,
    "train.inflation": INFLATIONS,
    "train.views": tuple(VIEWS),
    "train.elastic_tables": TABLES,
    "train.precision": PRECISIONS,
    "train.sampling": SAMPLINGS,
    "train.logger": (*LOGGERS, NO_LOGGER),
    "train.accelerator": ACCELERATORS,
}
"""Fields that take one of a few words, or a list of such; those of modalities whatever their kind."""


@dataclass(frozen=True)
class Field:
    """A field of a recipe.

    Attributes:
        section: `model`, `data`, `data.modalities`, `data.split`, `train`, `train.augment` or `train.learn_views`.
        kind: of the modalities that have it; empty outside of `data.modalities`.
        name: within the section.
        type: as it is annotated.
        default: where the field may be left out.
        required: whether it may not.
        text: what its docstring says, in one line.
        choices: the words that it takes; empty where it takes others.
    """

    section: str
    kind: str
    name: str
    type: str
    default: Any
    required: bool
    text: str
    choices: tuple[str, ...]

    @property
    def path(self) -> str:
        """What a command line calls it; the name of a modality stands for every one."""
        return f"{self.section}.{'NAME.' if self.kind else ''}{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be asked for by, those of groups of fields too."""
        groups = self.section, f"{self.section}.{self.name}", self.section.rpartition(".")[2]
        return (self.name, *groups, *((self.kind, f"{self.kind}.{self.name}", self.path) if self.kind else ()))

    @property
    def brief(self) -> str:
        """The first sentence of `text`."""
        return re.split(r"(?<=[^.][.])\s+(?=[A-Z`])", self.text, maxsplit=1)[0].rstrip(".")


def recipe_fields() -> list[Field]:
    """All fields of recipes, those of a section and a kind one after the other."""
    found: list[Field] = []
    for section, owner in SECTIONS.items():
        found += _fields(section, owner)
        if section == "data":
            found += [field for kind, source in KINDS.items() for field in _fields(MODALITIES, source, kind)]
        for part, kind in PARTS.items():
            if part.startswith(f"{section}."):
                found += _fields(part, kind)
    return found


def fields_named(name: str) -> list[Field]:
    """The fields of a section (`train.augment`) or a kind (`video`), or of a name (`epochs`, `train.epochs`).

    Raises:
        ValueError: there are none.
    """
    known = recipe_fields()
    found = [field for field in known if name in field.names]
    if not found:
        raise ValueError(unknown_name(name, dict.fromkeys(name for field in known for name in field.names)))
    return found


def _fields(section: str, owner: type, kind: str = "") -> list[Field]:
    texts = _texts(owner)
    return [
        Field(
            section=section,
            kind=kind,
            name=field.name,
            type=str(field.type),
            default=_plain(field.default_factory() if field.default_factory is not MISSING else field.default),
            required=field.default is MISSING and field.default_factory is MISSING,
            text=texts[field.name],
            choices=CHOICES.get(f"{section}.{field.name}", ()),
        )
        for field in fields_of(owner)
    ]


def _plain(default: Any) -> Any:
    return None if default is MISSING else list(default) if isinstance(default, tuple) else default


def _texts(owner: type) -> Mapping[str, str]:
    """Field -> what the section `Attributes` of a docstring says of it, or else that of a class that it comes from."""
    texts: dict[str, str] = {}
    for part in reversed(owner.__mro__):
        _, _, attributes = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")
        for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
            texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return texts
