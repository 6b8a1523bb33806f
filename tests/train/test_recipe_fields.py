"""Every field of a recipe: what is said of it, the schema that editors check recipes by, and the documentation."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from doc_pages import ROOT
from locomt.data.config import DataConfig, make_source
from locomt.demo.demo import TEMPLATE
from locomt.nn.config import Architecture
from locomt.train.config import TrainConfig
from locomt.train.fields import CHOICES, MODALITIES, Field, fields_named, recipe_fields
from locomt.train.recipe_file import load_recipe
from locomt.train.schema import MODELINE, recipe_schema, schema_text
from locomt.train.yaml_text import read_yaml

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
FIELDS = recipe_fields()
TABLES = {
    "model": ("training.md", "### `model`"),
    "data": ("training.md", "### `data`"),
    "data.split": ("data.md", "## Splits"),
    "train": ("training.md", "### `train`"),
    "train.augment": ("training.md", "### Augmentation"),
    "train.learn_views": ("training.md", "### Learned views"),
}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.kind}:{field.path}")
def test_something_is_said_of_every_field_in_a_line(field: Field) -> None:
    assert 3 < len(field.brief) <= len(field.text)
    assert field.text.startswith(field.brief)
    assert "\n" not in field.text
    assert field.text.count("`") % 2 == field.brief.count("`") % 2 == 0


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_those_that_a_recipe_takes(name: str) -> None:
    section, _, own = name.rpartition(".")
    field = next(field for field in FIELDS if (field.section, field.name) == (section, own))
    wrong = {own: ("nonsense",) if field.type.startswith("tuple") else "nonsense"}
    modality = {"kind": "features", "column": "clip", "dim": 2, "max_length": 2}
    make: Callable[[], object] = {
        "model": lambda: Architecture(**wrong),
        "train": lambda: TrainConfig(**wrong),
        "data": lambda: DataConfig(manifest="a.csv", modalities={"clip": modality}, **wrong),
        MODALITIES: lambda: make_source("clip", {"kind": field.kind, "column": "clip", **wrong}),
    }[section]
    with pytest.raises(ValueError, match="nonsense") as refused:
        make()
    told = re.search(r"expected one (?:or more )?of (.*), got", str(refused.value))
    assert told
    assert tuple(re.findall(r"[\w-]+", told[1])) == field.choices


def test_fields_are_found_by_section_kind_and_name() -> None:
    assert [field.path for field in fields_named("train.epochs")] == ["train.epochs"]
    assert {field.kind for field in fields_named("patch")} == {"video", "image", "audio"}
    assert {field.kind for field in fields_named("video")} == {"video"}
    assert {field.section for field in fields_named("augment")} == {"train", "train.augment"}
    assert fields_named("audio.rate") == [field for field in FIELDS if (field.kind, field.name) == ("audio", "rate")]
    with pytest.raises(ValueError, match="did you mean 'epochs'"):
        fields_named("epochz")


def rows(section: str) -> Iterator[tuple[list[str], str]]:
    """The names in the first cells of a documentation's table, and the second cell."""
    page, heading = TABLES[section]
    part = (ROOT / "docs" / page).read_text().partition(f"{heading}\n")[2].partition("\n#")[0]
    for line in part.splitlines():
        if line.startswith("| `"):
            names, default = (cell.strip() for cell in line.split("|")[1:3])
            yield re.findall(r"`(\w+)`", names), default


@pytest.mark.parametrize("section", TABLES)
def test_the_documentation_names_all_fields_with_their_defaults(section: str) -> None:
    fields = {field.name: field for field in FIELDS if field.section == section}
    assert sorted(name for names, _ in rows(section) for name in names) == sorted(fields)
    compared = 0
    for names, cell in rows(section):
        parts = re.split(r", (?![^\[]*\])", cell)
        for name, part in zip(names, parts * len(names) if len(parts) == 1 else parts, strict=False):
            value = yaml.safe_load(part.strip("`")) if part else None
            value = float(value) if name == "norm_eps" else value
            if part and not (isinstance(value, str) and "`" not in part):  # which says in words where it comes from
                compared += 1
                assert value == (int(fields[name].default) if name == "precision" else fields[name].default), name
    assert compared > len(fields) / 2


def test_the_documentation_names_all_fields_of_each_kind_with_their_defaults() -> None:
    part = (ROOT / "docs" / "data.md").read_text().partition("## Kinds of modalities\n")[2].partition("\n#")[0]
    told = {}
    for line in part.splitlines():
        if line.startswith("| `"):
            kind, _, fields = (cell.strip() for cell in line.strip("|").split("|"))
            told[kind.strip("`")] = {
                name: yaml.safe_load(value or "null") for name, value in re.findall(r"`(\w+)(?:: ([^`]*))?`", fields)
            }
    known: dict[str, dict[str, Any]] = {}
    for field in FIELDS:
        if field.kind and field.name != "column":
            known.setdefault(field.kind, {})[field.name] = None if field.default == "" else field.default
    assert told == known


def test_the_schema_beside_the_recipes_is_that_of_the_code() -> None:
    """`locomt fields --schema > recipes/schema.json` renews it."""
    assert (ROOT / "recipes" / "schema.json").read_text() == schema_text()


@pytest.fixture(scope="module")
def check() -> Any:
    """A validator of recipes."""
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft7Validator.check_schema(recipe_schema())
    return jsonschema.Draft7Validator(recipe_schema())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_fit_the_schema_and_say_where_it_is(path: Any, check: Any) -> None:
    assert path.read_text().startswith(f"{MODELINE}schema.json\n")
    assert not [error.message for error in check.iter_errors(read_yaml(path))]
    resolved = load_recipe(path).to_dict()
    assert not [error.message for error in check.iter_errors(resolved)]


def test_the_demos_recipe_fits_the_schema(check: Any) -> None:
    text = TEMPLATE.format(command="", minutes="", expected="", epochs=1, warmup=1)
    assert check.is_valid(yaml.safe_load(text))


def places(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All mappings in a recipe in which every name is that of a field."""
    yield values
    yield values["model"]
    yield values["data"]
    yield from values["data"]["modalities"].values()
    yield values["train"]
    yield values["train"]["augment"]
    yield values["train"]["learn_views"]


@pytest.mark.parametrize("number", range(8))
def test_the_schema_refuses_typos_wherever_they_are(number: int, check: Any) -> None:
    values = load_recipe(ROOT / "recipes" / "audioset.yaml").to_dict()
    assert check.is_valid(values)
    place = list(places(values))[number]
    name, value = next(iter(place.items()))
    place[f"{name}s"] = value
    (error,) = check.iter_errors(values)
    assert "Additional properties" in error.message
    assert f"{name}s" in error.message


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("model", "fusion", "lokomt"), ("model", "depth", "four"), ("train", "compile", "yes"), ("data", "workers", 0.5)],
)
def test_the_schema_refuses_wrong_words_and_types(section: str, field: str, value: object, check: Any) -> None:
    values = read_yaml(ROOT / "recipes" / "digits.yaml")
    assert check.is_valid(values)
    values[section][field] = value
    assert not check.is_valid(values)


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"labels": "labels.txt"}},
        {"train": {"precision": 32, "start": None}},
        {"data": {"modalities": {"audio": {"kind": "audio", "column": "clip", "rate": "auto"}}}},
    ],
)
def test_the_schema_takes_what_else_a_recipe_may_say(change: dict[str, dict[str, Any]], check: Any) -> None:
    values = read_yaml(ROOT / "recipes" / "digits.yaml")
    for section, fields in change.items():
        values[section] |= fields
    assert not [error.message for error in check.iter_errors(values)]
