"""Recipes: one YAML file with the sections `model`, `data` and `train`, read into frozen dataclasses.

A recipe is read, overridden and saved here and nowhere else, so that a run can be rebuilt from its saved
`config.yaml` alone.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from locomt.data.config import DataConfig, TextSource
from locomt.hints import did_you_mean
from locomt.nn.config import Architecture, FusionConfig
from locomt.train.augment import check_augment
from locomt.train.config import RecipeError, TrainConfig, require
from locomt.train.origin import is_foreign, refusal, within
from locomt.train.yaml_text import parse_yaml, read_yaml

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
        if self.train.views != "fixed":
            self._check_changing_views()
        modalities = self.data.modalities
        for name in self.train.pretrained:
            require(name in modalities, f"train.pretrained: {_unknown(name, modalities)}")
            kind = modalities[name].kind
            require(
                kind in ("video", "audio"),
                f"train.pretrained: {name!r} is {kind}; towers are for video and audio, and a text takes what "
                f"data.modalities.{name}.encoder names",
            )
        for field_name, named in (("learning_rates", self.train.learning_rates), ("frozen", self.train.frozen)):
            for name in named:
                require(name in self.parts, f"train.{field_name}: {_unknown(name, self.parts)}")
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
        return self.train.learn_views.epochs(self.train.epochs) if self.train.views == "learned" else 0

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
        return self.train.pretrained | {name: source for name, source in encoders.items() if source}

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
        train = replace(
            self.train,
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
        return {
            section: {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
            for section, values in plain.items()
        }

    def to_yaml(self, folder: str | Path) -> str:
        """The resolved recipe as text, its manifest and `train.start` relative to `folder`, where it is to be kept."""
        values = self.to_dict()
        values["data"]["manifest"] = os.path.relpath(self.data.manifest, folder)
        if self.train.start:
            values["train"]["start"] = os.path.relpath(self.train.start, folder)
        return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines, such as a view table, as a block of lines."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def load_recipe(path: str | Path, overrides: str | Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    `data.labels` may name a text file with a label a line, which stands for the list in it.

    Args:
        path: the YAML file; `data.manifest` and a file of labels in it are relative to the file.
        overrides: options in command-line form, `["--model.depth", "4", "--train.seed=1"]`, or a line of them,
            `"--model.depth 4 --train.seed=1"`; a file given here is relative to the working directory, as every path
            on a command line is.

    Where there is a folder of the name of a checkpoint (in `train.pretrained`, or a text's encoder), it is meant, and
    not an id on the hub.

    The `config.yaml` of a run that somebody else began is not followed out of its folder; see `locomt.train.origin`.

    Raises:
        RecipeError: the file is no recipe; one line that names the field, what it wants and what came.
        OSError: the file cannot be read.
    """
    recipe, reaching = read_recipe(path, overrides)
    for name, value in reaching.items():
        raise RecipeError(refusal(Path(path), name, value))
    return recipe


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Recipe, dict[str, str]]:
    """As `load_recipe`, and what a foreign run's `config.yaml` names outside of its folder, by field.

    Whoever uses the recipe refuses those of these fields that it would follow. See `locomt.train.origin`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a recipe file, but there is no file {path}")
    values, pairs = _read_yaml(path), _parse_overrides(overrides)
    for name, value in pairs:
        _override(values, name, value)
    given, foreign = {name for name, _ in pairs}, is_foreign(path)
    folder, label_folder = (Path() if name in given else path.parent for name in ("data.manifest", "data.labels"))
    if isinstance(labels := values.get("data", {}).get("labels"), str):
        if foreign and "data.labels" not in given and not within(label_folder / labels, path.parent):
            raise RecipeError(refusal(path, "data.labels", labels))
        values["data"]["labels"] = _read_labels(label_folder / labels)
    folders = (path.parent, Path())
    _fill_auto(values, path, folders, given if foreign else None)
    recipe = build_recipe(values, str(path))
    manifest = os.path.abspath(folder / recipe.data.manifest)
    pretrained = {name: _resolved(source, folders) for name, source in recipe.train.pretrained.items()}
    modalities = {
        name: replace(
            source, encoder=_resolved(source.encoder, folders), tokenizer=_resolved(source.tokenizer, folders)
        )
        if isinstance(source, TextSource) and source.encoder
        else source
        for name, source in recipe.data.modalities.items()
    }
    start = recipe.train.start and _resolved(recipe.train.start, folders)
    recipe = replace(
        recipe,
        data=replace(recipe.data, manifest=manifest, modalities=modalities),
        train=replace(recipe.train, pretrained=pretrained, start=start),
    )
    return recipe, _reaching(recipe, path.parent, given) if foreign else {}


def _fill_auto(values: dict[str, Any], path: Path, folders: Sequence[Path], given: set[str] | None) -> None:
    """What checkpoints say in place of every `auto`; in a foreign run, of which `given` are the user's own fields, none
    is asked."""
    modalities, pretrained = values.get("data", {}).get("modalities"), values.get("train", {}).get("pretrained")
    for name, entry in modalities.items() if isinstance(modalities, dict) else ():
        if not isinstance(entry, dict) or "auto" not in [entry[field] for field in entry if field != "column"]:
            continue
        from locomt.train.preprocessing import fill_auto

        source = pretrained.get(name) if isinstance(pretrained, dict) else None
        if given is not None and not {"train.pretrained", f"train.pretrained.{name}"} & given:
            raise RecipeError(refusal(path, f"train.pretrained.{name}", source))
        try:
            modalities[name] = fill_auto(entry, name, _resolved(source, folders) if isinstance(source, str) else None)
        except ValueError as error:
            raise RecipeError(f"{path}: {error}") from None


def _reaching(recipe: Recipe, folder: Path, given: set[str]) -> dict[str, str]:
    """The fields that were not given by the user and name what lies outside of a folder -> what they name."""
    named = {"data.manifest": recipe.data.manifest}
    named |= {f"train.pretrained.{name}": source for name, source in recipe.train.pretrained.items()}
    if recipe.train.start:
        named["train.start"] = recipe.train.start
    for name, source in recipe.data.modalities.items():
        if isinstance(source, TextSource):
            for field_name in ("encoder", "tokenizer"):  # in this order: an encoder brings its tokenizer along
                if (value := getattr(source, field_name)) not in ("", "bytes"):
                    named[f"data.modalities.{name}.{field_name}"] = value
    outside = {name: value for name, value in named.items() if not (os.path.exists(value) and within(value, folder))}
    if recipe.data.allow_outside:
        outside["data.allow_outside"] = "true"
    mine = tuple(f"{name}." for name in given)
    return {name: value for name, value in outside.items() if not f"{name}.".startswith(mine)}


def _resolved(source: str, folders: Sequence[Path]) -> str:
    """The absolute path of a checkpoint's folder, or its id as it is."""
    found = (folder / Path(source).expanduser() for folder in folders)
    return next((os.path.abspath(path) for path in found if path.is_dir()), source)


def _read_yaml(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    require(isinstance(values, dict), f"{path}: expected the sections model, data and train, got {values!r:.60}")
    for section, content in values.items():
        require(
            content is None or isinstance(content, dict),
            f"{path}: expected section {section!r:.60} to hold fields, got {content!r:.60}",
        )
    return {section: content or {} for section, content in values.items()}


def _read_labels(path: Path) -> list[str]:
    """A file with a label a line, in the order of the model's outputs."""
    if not path.is_file():
        raise FileNotFoundError(f"data.labels: expected a list of names or a file with one a line, got {path}")
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: expected labels in UTF-8, one a line") from None


def words_of(overrides: str | Sequence[str]) -> list[str]:
    """The words of a command line, be it one line or words already."""
    try:
        return shlex.split(overrides) if isinstance(overrides, str) else list(overrides)
    except ValueError as error:  # a quote that is not closed
        raise RecipeError(f"overrides {overrides!r}: {error}") from None


def _parse_overrides(overrides: str | Sequence[str]) -> list[tuple[str, Any]]:
    """`["--a.b", "1", "--c.d=2"]` -> [("a.b", 1), ("c.d", 2)]."""
    pairs = []
    items = iter(words_of(overrides))
    for item in items:
        name, equals, text = item.partition("=")
        require(
            name.startswith("--") and "." in name,
            f"expected an override such as '--model.depth 4', got {item!r}",
        )
        value = text if equals else next(items, None)
        if value is None:
            raise RecipeError(f"override {name}: expected a value after it, got none")
        try:
            parsed = parse_yaml(value, f"override {name}")
        except RecipeError as error:
            raise RecipeError(f"{error}; quote it") from None
        plain = isinstance(parsed, str) and value[:1] not in ("'", '"')
        pairs.append((name[2:], value if plain else parsed))  # YAML would fold the lines of a view table
    return pairs


def _override(values: dict[str, Any], name: str, value: Any) -> None:
    """Set `data.modalities.video.frames`; only what lies directly in a section or in `_OPEN` may be new."""
    *parents, last = name.split(".")
    place = values.setdefault(parents[0], {}) if parents[0] in _SECTIONS else values
    for parent in parents[1 if parents[0] in _SECTIONS else 0 :]:
        entry = place.setdefault(parent, {}) if name.startswith(_OPEN) else place.get(parent)
        require(isinstance(entry, dict), f"override --{name}: {_unknown(parent, place)}")
        place = entry
    place[last] = value


_OPEN = ("train.augment.", "train.learn_views.", "train.learning_rates.", "train.pretrained.")
_SECTIONS: dict[str, type] = {"model": Architecture, "data": DataConfig, "train": TrainConfig}


def _unknown(name: str, known: Any) -> str:
    return f"unknown name {name!r}; " + did_you_mean(name, known, f"expected one of {', '.join(known)}")


def build_recipe(values: Mapping[str, Any], where: str) -> Recipe:
    """A recipe out of plain values, the types of its fields checked; `where` heads the error messages."""
    for section, content in values.items():
        require(section in _SECTIONS, f"{where}: {_unknown(section, _SECTIONS)}")
        for name in content:
            known = [f.name for f in fields(_SECTIONS[section])]
            require(name in known, f"{where}: section {section!r}: {_unknown(name, known)}")
    checked = _check_types({section: dict(values.get(section, {})) for section in _SECTIONS}, where)
    try:
        return Recipe(**{name: section(**checked[name]) for name, section in _SECTIONS.items()})
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


def _check_types(values: dict[str, dict[str, Any]], where: str) -> dict[str, dict[str, Any]]:
    """Values of the types that the dataclasses declare, or one line about the first that cannot be."""
    from jsonargparse import ArgumentError, ArgumentParser

    for name, section in _SECTIONS.items():
        for f in fields(section):
            if f.name in values[name] and values[name][f.name] is None and not re.search("None|Any", str(f.type)):
                raise RecipeError(f"{where}: {name}.{f.name}: expected {f.type}, got nothing; leave it out")
    parser = ArgumentParser(exit_on_error=False)
    for name, section in _SECTIONS.items():
        parser.add_class_arguments(section, name)
    try:
        parsed = parser.parse_object(values).as_dict()
    except ArgumentError as error:
        raise RecipeError(f"{where}: {_one_line(str(error), values)}") from None
    return {name: parsed[name] for name in _SECTIONS}


def _one_line(message: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """jsonargparse's report, which may take ten lines, as: field, what it wants, what came."""
    if missing := re.search(r"required: ([\w.]+)", message):
        return f"field {missing[1]} is missing"
    if not (key := re.search(r'key "(\w+)\.(\w+)', message)):
        return " ".join(message.split())
    section, name = key.groups()
    wanted = {f.name: f.type for f in fields(_SECTIONS[section])}[name]
    return f"{section}.{name}: expected {wanted}, got {values[section].get(name)!r:.60}"
