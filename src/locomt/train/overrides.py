"""Fields of a recipe as a command line spells them: `--model.depth 4 --train.seed=1`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from locomt.hints import unknown_name
from locomt.train.config import RecipeError, require
from locomt.train.recipe import SECTIONS
from locomt.train.yaml_text import parse_yaml

OPEN = ("data.split.", "train.augment.", "train.learn_views.", "train.learning_rates.", "train.pretrained.")
"""What lies in these may be new; elsewhere only what lies directly in a section."""


def words_of(overrides: str | Sequence[str]) -> list[str]:
    """The words of a command line, be it one line or words already."""
    try:
        return shlex.split(overrides) if isinstance(overrides, str) else list(overrides)
    except ValueError as error:  # a quote that is not closed
        raise RecipeError(f"overrides {overrides!r}: {error}") from None


def parse_overrides(overrides: str | Sequence[str]) -> list[tuple[str, Any]]:
    """`["--a.b", "1", "--c.d=2"]` -> `[("a.b", 1), ("c.d", 2)]`."""
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


def override(values: dict[str, Any], name: str, value: Any) -> None:
    """Set a field such as `data.modalities.video.frames` in the plain values of a recipe."""
    *parents, last = name.split(".")
    place = values.setdefault(parents[0], {}) if parents[0] in SECTIONS else values
    for parent in parents[1 if parents[0] in SECTIONS else 0 :]:
        entry = place.setdefault(parent, {}) if name.startswith(OPEN) else place.get(parent)
        if not isinstance(entry, dict):
            raise RecipeError(f"override --{name}: {unknown_name(parent, place)}")
        place = entry
    place[last] = value
