"""Equal tuning effort: one grid of recipe fields for all models. The validation split alone chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import yaml

from locomt.train.config import RecipeError
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import build_recipe

Grid = Mapping[str, Sequence[str]]
"""Fields of the recipe, `train.learning_rate` say, and the values to try, as text."""

Values = Mapping[str, str]
"""One point of a grid."""

COMPARED = ("model.fusion", "model.views", "train.seed", "train.monitor")
"""Fields that cannot be tuned: a comparison sets them itself, or chooses by them."""


class TuneError(ValueError):
    """A grid cannot be used: says what was expected and what came."""


def parse_grid(items: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read `["train.learning_rate=1e-4,3e-4", "model.dropout=0,0.1"]`.

    Raises:
        TuneError: an item is not of this form, a field comes twice or must not vary.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for item in items:
        name, _, text = item.partition("=")
        name = name.strip().removeprefix("--")
        values = tuple(value.strip() for value in text.split(","))
        if "." not in name or not all(values):
            raise TuneError(f"expected a field and its values, such as train.learning_rate=1e-4,3e-4, got {item!r}")
        if name in COMPARED:
            raise TuneError(f"{name} cannot be tuned: it is part of what is compared")
        if name in grid:
            raise TuneError(f"{name} is tuned twice; give all its values at once, as in {name}=A,B")
        if len(set(values)) < len(values):
            raise TuneError(f"{name}: a value comes twice in {text!r}")
        grid[name] = values
    return grid


def points(grid: Grid) -> list[dict[str, str]]:
    """All combinations of the values. An empty grid has one, which is empty."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def with_values(recipe: Recipe, values: Values) -> Recipe:
    """The recipe with fields set, checked as if its file said so.

    Raises:
        RecipeError: there is no such field, or it cannot hold the value.
    """
    plain = recipe.to_dict()
    for name, text in values.items():
        *parents, last = name.split(".")
        place = plain
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None  # type: ignore[assignment]
        if not isinstance(place, dict) or last not in place:
            raise RecipeError(f"the recipe has no field {name}")
        place[last] = yaml.safe_load(text)
    return build_recipe(plain, ", ".join(f"{name}={text}" for name, text in values.items())) if values else recipe


def folder_name(values: Values) -> str:
    """The folder name of the runs at a point of a grid: `learning_rate=1e-4,dropout=0.1`."""
    return ",".join(f"{name.rpartition('.')[2]}={text}".replace("/", "_") for name, text in values.items()) or "untuned"
