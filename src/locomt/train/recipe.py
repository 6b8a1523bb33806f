"""A recipe: the model, what it sees and how it is trained, as frozen dataclasses that know what they contradict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from locomt.data.config import DataConfig
from locomt.hints import unknown_name
from locomt.nn.config import Architecture, FusionConfig
from locomt.train.augment_config import check_augment
from locomt.train.config import RecipeError, TrainConfig, require

SECTIONS: dict[str, type] = {"model": Architecture, "data": DataConfig, "train": TrainConfig}
PARTS = ("fusion", "head")
"""Parts of every model that are no modality's."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run as data: the model, what it sees and how it is trained.

    `data.manifest` is absolute once a recipe has been loaded.

    Raises:
        RecipeError: the sections contradict each other.
    """

    model: Architecture = field(default_factory=Architecture)
    data: DataConfig
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        choices = self.data.target.monitors
        require(
            self.train.monitor is None or self.train.monitor in choices,
            f"train.monitor: a {self.data.task} run knows {', '.join(choices)}, got {self.train.monitor!r}",
        )
        check_augment(self.train.augment, self.data)
        if self.train.view_training.changes:
            self._check_changing_views()
        modalities = self.data.modalities
        for name in self.train.pretrained:
            if name not in modalities:
                raise RecipeError(f"train.pretrained: {unknown_name(name, modalities)}")
        for field_name, named in (("learning_rates", self.train.learning_rates), ("frozen", self.train.frozen)):
            if unknown := [name for name in named if name not in self.parts]:
                raise RecipeError(f"train.{field_name}: {unknown_name(unknown[0], self.parts)}")
        if taken := [name for name in PARTS if name in modalities and (self.train.learning_rates or self.train.frozen)]:
            raise RecipeError(f"modality {taken[0]!r} has the name of a part of every model; rename it to set its rate")
        require(
            set(self.train.frozen) != set(self.parts),
            f"train.frozen: of {', '.join(self.parts)} nothing is left to train",
        )

    def _check_changing_views(self) -> None:
        how = f"train.views {self.train.views!r}"
        require(
            self.model.fusion == "locomt",
            f"{how} is for model.fusion 'locomt'; {self.model.fusion!r} has no views to change",
        )
        require(
            len(self.data.modalities) > 1,
            f"{how} needs two modalities or more, got {', '.join(self.data.modalities)} alone",
        )
        require(
            not self.train.compile,
            f"{how} changes the model at every step, which cannot be compiled; set train.compile to false",
        )

    @property
    def searching_epochs(self) -> int:
        """The first so many epochs, after which the table that they found is fixed."""
        return self.train.view_training.searching_epochs(self.train)

    @property
    def parts(self) -> tuple[str, ...]:
        """What `train.learning_rates` and `train.frozen` may name."""
        known = self.data.modalities
        encoders = (f"{name}.encoder" for name, source in known.items() if getattr(source, "encoder", ""))
        return (*known, *encoders, *PARTS)

    @property
    def starting_points(self) -> dict[str, str]:
        """Modality -> checkpoint that training starts from: those of `train.pretrained` and the texts' encoders."""
        encoders = {name: getattr(source, "encoder", "") for name, source in self.data.modalities.items()}
        return {name: source for name, source in encoders.items() if source} | self.train.pretrained

    @property
    def monitor(self) -> str:
        """The validation metric that chooses the best epoch."""
        return self.train.monitor or next(iter(self.data.target.monitors))

    @property
    def monitor_mode(self) -> str:
        """`max` where more of `monitor` is better, else `min`."""
        return self.data.target.monitors[self.monitor]

    def fusion_config(self, labels: Sequence[str] | None = None) -> FusionConfig:
        """The model that the recipe describes.

        Args:
            labels: what `locomt.data.label_list` says; asked for when left out, which reads the manifest unless
                the recipe lists its labels.
        """
        if labels is None:
            from locomt.data import label_list  # brings torch along, which a recipe itself does not need

            labels = label_list(self.data)
        return FusionConfig(
            **{f.name: getattr(self.model, f.name) for f in fields(Architecture)},
            modalities={name: source.spec() for name, source in self.data.modalities.items()},
            num_outputs=self.data.target.num_outputs(labels),
            steps=self.data.steps,
            time_steps=self.data.time_steps,
            pace=self.data.pace,
        )

    def fused(self, fusion: str, views: str | None = None) -> Recipe:
        """The same recipe with another fusion and, for `locomt`, a table in text form, which stays as it is."""
        model, train = replace(self.model, fusion=fusion, views=views), replace(self.train, views="fixed")
        return replace(self, model=model, train=train)

    def only(self, *modalities: str) -> Recipe:
        """The same recipe with these modalities alone: the unimodal baseline where there is one.

        A view table that names its modalities goes with them, `strategy` and `cross` take its place; with one
        modality left there is nothing to fuse, and the model is `selfall`.
        """
        known = self.data.modalities
        for name in modalities:
            require(name in known, f"modality {name!r} is not one of {', '.join(known)}")
        require(bool(modalities), f"expected at least one modality out of {', '.join(known)}, got none")
        kept = {name: source for name, source in known.items() if name in modalities}
        steps = tuple(name for name in self.data.steps if name in kept)
        require(
            bool(steps) == bool(self.data.steps),
            f"the labels belong to the steps of {', '.join(self.data.steps)}, none of which is left",
        )
        model = self.model
        if len(kept) < len(known):
            model = replace(model, views=None, fusion="selfall" if len(kept) == 1 else model.fusion)
        gone = set(known) - set(kept)
        augment = self.train.augment
        if not any(source.holds == "spectrogram" for source in kept.values()):
            augment = augment.without_sound()
        train = replace(
            self.train,
            augment=augment,
            views="fixed" if len(kept) == 1 else self.train.views,
            pretrained={name: source for name, source in self.train.pretrained.items() if name not in gone},
            learning_rates={
                p: rate for p, rate in self.train.learning_rates.items() if p.partition(".")[0] not in gone
            },
            frozen=tuple(part for part in self.train.frozen if part.partition(".")[0] not in gone),
        )
        return replace(self, model=model, data=replace(self.data, modalities=kept, steps=steps), train=train)

    def to_dict(self) -> dict[str, Any]:
        """Plain YAML types, every field written out."""
        modalities = {n: {"kind": s.kind, **asdict(s)} for n, s in self.data.modalities.items()}
        plain = {"model": asdict(self.model), "data": asdict(self.data), "train": asdict(self.train)}
        plain["data"]["modalities"] = modalities
        return {section: _plain(values) for section, values in plain.items()}

    def to_yaml(self, folder: str | Path) -> str:
        """The resolved recipe as text, its manifest and `train.start` relative to `folder`, where it is to be kept."""
        values = self.to_dict()
        values["data"]["manifest"] = os.path.relpath(self.data.manifest, folder)
        if self.data.split is not None and self.data.split.table:
            values["data"]["split"]["table"] = os.path.relpath(self.data.split.table, folder)
        if self.train.start:
            values["train"]["start"] = os.path.relpath(self.train.start, folder)
        if folder_of_noise := self.train.augment.noise_folder:
            values["train"]["augment"]["noise"] = os.path.relpath(folder_of_noise, folder)
        return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    """The same with lists in place of tuples, at any depth."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines, such as a view table, as a block of lines."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)
