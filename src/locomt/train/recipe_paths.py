"""Where the names in a recipe file lead: files, checkpoints, and what a run that somebody else began may not name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from locomt.train.config import RecipeError
from locomt.train.origin import refusal, within
from locomt.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the names in a recipe are relative to.

    Attributes:
        path: the recipe's file.
        given: the fields that the command line sets.
        foreign: whether it is the `config.yaml` of a run that somebody else began; see `locomt.train.origin`.
    """

    path: Path
    given: frozenset[str]
    foreign: bool

    def file(self, field: str, name: str) -> Path:
        """The file that a field names: from the recipe's folder, or the working one where the command line sets it."""
        return (Path() if field in self.given else self.path.parent) / name

    def checkpoint(self, source: str) -> str:
        """The absolute path of a checkpoint's folder, or its id as it is."""
        found = (folder / Path(source).expanduser() for folder in (self.path.parent, Path()))
        return next((os.path.abspath(path) for path in found if path.is_dir()), source)

    def follows(self, field: str) -> bool:
        """Whether what a field names is followed wherever it leads: the user has written it."""
        return not self.foreign or f"{field}.".startswith(tuple(f"{name}." for name in self.given))

    def refusal(self, field: str, value: object) -> RecipeError:
        """The error that a field is not followed."""
        return RecipeError(refusal(self.path, field, value))

    def absolute(self, recipe: Recipe) -> Recipe:
        """The recipe with the names of its files and checkpoints' folders made absolute."""
        data, train = recipe.data, recipe.train
        modalities = {name: source.located(self.checkpoint) for name, source in data.modalities.items()}
        manifest = os.path.abspath(self.file("data.manifest", data.manifest))
        pretrained = {name: self.checkpoint(source) for name, source in train.pretrained.items()}
        start, augment = train.start and self.checkpoint(train.start), train.augment
        if augment.noise_folder:
            field = "train.augment.noise"
            augment = replace(augment, noise=os.path.abspath(self.file(field, augment.noise)))
        split = data.split
        if split is not None and split.table:
            split = replace(split, table=os.path.abspath(self.file("data.split.table", split.table)))
        return replace(
            recipe,
            data=replace(data, manifest=manifest, modalities=modalities, split=split),
            train=replace(train, pretrained=pretrained, start=start, augment=augment),
        )

    def reaching(self, recipe: Recipe) -> dict[str, str]:
        """The fields that are not the user's own and name what lies outside of the recipe's folder -> what they name.

        Args:
            recipe: of absolute names.
        """
        named = {"data.manifest": recipe.data.manifest}
        if recipe.data.split is not None and recipe.data.split.table:
            named["data.split.table"] = recipe.data.split.table
        named |= {f"train.pretrained.{name}": source for name, source in recipe.train.pretrained.items()}
        if recipe.train.start:
            named["train.start"] = recipe.train.start
        if recipe.train.augment.noise_folder:
            named["train.augment.noise"] = recipe.train.augment.noise
        for name, source in recipe.data.modalities.items():
            named |= {f"data.modalities.{name}.{field}": value for field, value in source.checkpoints.items()}
        folder = self.path.parent
        outside = {
            name: value for name, value in named.items() if not (os.path.exists(value) and within(value, folder))
        }
        if recipe.data.allow_outside:
            outside["data.allow_outside"] = "true"
        return {name: value for name, value in outside.items() if not self.follows(name)}
