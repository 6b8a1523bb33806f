"""Reading a recipe: one YAML file with the sections `model`, `data` and `train`, and what a command line changes in it.

A run can be rebuilt from its saved `config.yaml` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locomt.hints import unknown_name
from locomt.train.config import RecipeError, require
from locomt.train.origin import is_foreign, is_run, refusal, within
from locomt.train.overrides import override, parse_overrides
from locomt.train.pretrained_input import fill_auto
from locomt.train.recipe import SECTIONS, Recipe
from locomt.train.recipe_paths import Place
from locomt.train.yaml_text import read_yaml

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


STANDARDISE = "standardise: true in the modalities that are to be, under data.modalities"
ELSEWHERE = {
    f"{section}.{name}": STANDARDISE for section in ("data", "train") for name in ("standardise", "standardize")
}
"""Fields that are looked for where they are not -> where they are."""
EARLIER = {"unimodal_loss": 0.0}
"""Fields of `train` that older runs lack, and the value that they were trained by, where that is not the default."""


def load_recipe(path: str | Path, overrides: str | Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    - `data.labels` may name a text file with a label a line, which stands for the list in it.
    - Where there is a folder of the name of a checkpoint (in `train.pretrained`, or a text's encoder), it is meant, and
      not an id on the hub.
    - The `config.yaml` of a run that somebody else began is not followed out of its folder; see `locomt.train.origin`.

    Args:
        path: the YAML file; `data.manifest` and a file of labels in it are relative to the file.
        overrides: options in command-line form, `["--model.depth", "4", "--train.seed=1"]`, or a line of them,
            `"--model.depth 4 --train.seed=1"`; a file given here is relative to the working directory, as every path
            on a command line is.

    Raises:
        RecipeError: the file is no recipe; one line that names the field, what it wants and what came.
        OSError: the file cannot be read.
    """
    recipe, reaching = read_recipe(path, overrides)
    for name, value in reaching.items():
        raise RecipeError(refusal(Path(path), name, value))
    return recipe


def read_recipe(path: str | Path, overrides: str | Sequence[str] = ()) -> tuple[Recipe, dict[str, str]]:
    """As `load_recipe`, and what a foreign run's `config.yaml` names outside of its folder, by field.

    Whoever uses the recipe refuses those of these fields that it would follow. See `locomt.train.origin`.
    """
    path = Path(path)
    values, given = _written(path, overrides)
    place = Place(path=path, given=given, foreign=is_foreign(path))
    _fill_labels(values, place)
    _fill_auto(values, place)
    recipe = place.absolute(build_recipe(values, str(path)))
    return recipe, place.reaching(recipe)


def _written(path: Path, overrides: str | Sequence[str]) -> tuple[dict[str, Any], frozenset[str]]:
    """What the file and the command line say, as plain values by section, and which fields the latter sets."""
    if not path.is_file():
        raise FileNotFoundError(f"expected a recipe file, but there is no file {path}")
    values = read_yaml(path)
    require(isinstance(values, dict), f"{path}: expected the sections model, data and train, got {values!r:.60}")
    for section, content in values.items():
        require(
            content is None or isinstance(content, dict),
            f"{path}: expected section {section!r:.60} to hold fields, got {content!r:.60}",
        )
    values = {section: content or {} for section, content in values.items()}
    if is_run(path):  # it holds all fields; of those that came later, what runs did before
        values["train"] = EARLIER | values.get("train", {})
    pairs = parse_overrides(overrides)
    for name, value in pairs:
        override(values, name, value)
    _rename(values.get("train", {}))
    return values, frozenset(name for name, _ in pairs)


def _rename(train: dict[str, Any]) -> None:
    """Read `tensorboard: true` or `false` of older recipes and runs as the `logger` that came after it."""
    if "tensorboard" in train:
        wanted = train.pop("tensorboard")
        train.setdefault("logger", "tensorboard" if wanted else "none")


def _fill_labels(values: dict[str, Any], place: Place) -> None:
    """The list that a file of labels holds, in place of its name."""
    labels = values.get("data", {}).get("labels")
    if not isinstance(labels, str):
        return
    path = place.file("data.labels", labels)
    if not place.follows("data.labels") and not within(path, place.path.parent):
        raise place.refusal("data.labels", labels)
    if not path.is_file():
        raise FileNotFoundError(f"data.labels: expected a list of names or a file with one a line, got {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: expected labels in UTF-8, one a line") from None
    values["data"]["labels"] = [line.strip() for line in lines if line.strip()]


def _fill_auto(values: dict[str, Any], place: Place) -> None:
    """What the checkpoints say, in place of every `auto`; none is asked that only a foreign run names."""
    modalities, pretrained = values.get("data", {}).get("modalities"), values.get("train", {}).get("pretrained")
    for name, entry in modalities.items() if isinstance(modalities, dict) else ():
        if not isinstance(entry, dict) or "auto" not in [entry[field] for field in entry if field != "column"]:
            continue
        source = pretrained.get(name) if isinstance(pretrained, dict) else None
        if not place.follows(f"train.pretrained.{name}"):
            raise place.refusal(f"train.pretrained.{name}", source)
        try:
            modalities[name] = fill_auto(entry, name, place.checkpoint(source) if isinstance(source, str) else None)
        except ValueError as error:
            raise RecipeError(f"{place.path}: {error}") from None


def build_recipe(values: Mapping[str, Any], where: str) -> Recipe:
    """A recipe out of plain values, the types of its fields checked; `where` heads the error messages."""
    for section, content in values.items():
        if section not in SECTIONS:
            raise RecipeError(f"{where}: {unknown_name(section, SECTIONS)}")
        known = [f.name for f in fields(SECTIONS[section])]
        if unknown := [name for name in content if name not in known]:
            if f"{section}.{unknown[0]}" in ELSEWHERE:
                raise RecipeError(f"{where}: {section}.{unknown[0]}: set {ELSEWHERE[f'{section}.{unknown[0]}']}")
            raise RecipeError(f"{where}: section {section!r}: {unknown_name(unknown[0], known)}")
    checked = _check_types({section: dict(values.get(section, {})) for section in SECTIONS}, where)
    try:
        return Recipe(**{name: section(**checked[name]) for name, section in SECTIONS.items()})
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


def _check_types(values: dict[str, dict[str, Any]], where: str) -> dict[str, dict[str, Any]]:
    """Values of the types that the dataclasses declare, or one line about the first that cannot be."""
    from jsonargparse import ArgumentError

    for name, section in SECTIONS.items():
        for f in fields(section):
            if f.name in values[name] and values[name][f.name] is None and not re.search("None|Any", str(f.type)):
                raise RecipeError(f"{where}: {name}.{f.name}: expected {f.type}, got nothing; leave it out")
    try:
        return {name: deepcopy(_typed(_Section(name, repr(values[name]), values[name]))) for name in SECTIONS}
    except ArgumentError as error:
        raise RecipeError(f"{where}: {_one_line(str(error), values)}") from None


@dataclass(frozen=True)
class _Section:
    """What is written in a section; `text` tells it from others."""

    name: str
    text: str
    values: dict[str, Any] = field(compare=False)


@lru_cache(maxsize=256)
def _typed(section: _Section) -> dict[str, Any]:
    """The values in their types; kept, as runs beside each other differ in a field or two. Whoever asks copies them."""
    parsed = _parser(section.name).parse_object({section.name: deepcopy(section.values)}, defaults=False).as_dict()
    return parsed.get(section.name) or {}


@cache
def _parser(name: str) -> ArgumentParser:
    """Made once: the fields are always the same, and reading their types takes longer than parsing values."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SECTIONS[name], name)
    return parser


def _one_line(message: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """jsonargparse's report, which may take ten lines, as: field, what it wants, what came."""
    if missing := re.search(r"required: ([\w.]+)", message):
        return f"field {missing[1]} is missing"
    if not (key := re.search(r'key "(\w+)\.(\w+)', message)):
        return " ".join(message.split())
    section, name = key.groups()
    wanted = {f.name: f.type for f in fields(SECTIONS[section])}[name]
    return f"{section}.{name}: expected {wanted}, got {values[section].get(name)!r:.60}"
