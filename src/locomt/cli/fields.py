"""`locomt fields`: what a recipe may say, with types and defaults."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from locomt.train.fields import Field

HELP = "the fields of recipes with type, default and what they do"
EXAMPLE = "locomt fields train.augment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a section (model, data, train, train.augment), a kind of modality (video) or a field (epochs), which is "
        "then told whole; left out: all, a line each",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document on stdout")
    form.add_argument("--schema", action="store_true", help="the JSON schema by which editors check recipes, on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from dataclasses import asdict

    from locomt.cli.output import print_json, print_table
    from locomt.train.fields import fields_named, recipe_fields
    from locomt.train.schema import schema_text

    if args.schema and args.name:
        raise ValueError(f"--schema is of all fields; leave {args.name!r} out")
    if args.schema:
        print(schema_text(), end="")
        return 0
    found = fields_named(args.name) if args.name else recipe_fields()
    if args.json:
        print_json([{"path": field.path, **asdict(field)} for field in found])
        return 0
    for section, kind in dict.fromkeys((field.section, field.kind) for field in found):
        own = [field for field in found if (field.section, field.kind) == (section, kind)]
        title = f"{section}.NAME, kind: {kind}" if kind else section
        rows = [(field.name, type_of(field), default_of(field), told(field, whole=bool(args.name))) for field in own]
        print_table(title, ("field", "type", "default", ""), rows)
    return 0


def type_of(field: Field) -> str:
    """`number or nothing`: a type as a recipe has it."""
    words = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false", "Any": "fields"}
    words |= {"tuple[str, ...]": "list of texts", "tuple[float, ...]": "list of numbers", "None": "null"}
    words |= {"dict[str, float]": "name: number", "dict[str, str]": "name: text", "dict[str, Any]": "name: fields"}
    return " or ".join(words[part] for part in field.type.split(" | "))


def default_of(field: Field) -> str:
    """As YAML has it."""
    from json import dumps

    if field.required or field.default in (None, {}, [], ""):
        return "needed" if field.required else ""
    return field.default if isinstance(field.default, str) else dumps(field.default)


def told(field: Field, *, whole: bool) -> str:
    """What it does, and the words that it takes where that does not say them."""
    text = field.text if whole else field.brief
    lacking = [word for word in field.choices if word not in text]
    return f"{text.rstrip('.')} ({', '.join(field.choices)})" if lacking else text
