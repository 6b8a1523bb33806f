"""A JSON schema of recipes, by which editors complete and check them: names, types and choices of all fields."""

from __future__ import annotations

import json
from typing import Any

from locomt.data.kinds import KINDS
from locomt.train.fields import MODALITIES, PARTS, Field, recipe_fields
from locomt.train.recipe import SECTIONS

DRAFT = "http://json-schema.org/draft-07/schema#"
"""What YAML editors know."""
MODELINE = "# yaml-language-server: $schema="
TYPES: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "tuple[str, ...]": {"type": "array", "items": {"type": "string"}},
    "tuple[float, ...]": {"type": "array", "items": {"type": "number"}},
    "dict[str, float]": {"type": "object", "additionalProperties": {"type": "number"}},
    "dict[str, str]": {"type": "object", "additionalProperties": {"type": "string"}},
}
AUTO = {"const": "auto"}
"""What a checkpoint says, in place of a field of a modality."""


def recipe_schema() -> dict[str, Any]:
    """The schema of a recipe. It refuses what has a wrong name, type or word; what contradicts each other shows when
    the recipe is read."""
    fields = recipe_fields()
    parts = {part: _object([field for field in fields if field.section == part]) for part in PARTS}
    kinds = {kind: _modality(kind, [field for field in fields if field.kind == kind]) for kind in KINDS}
    sections = {name: [field for field in fields if field.section == name] for name in SECTIONS}
    nested = parts | {MODALITIES: {"type": "object", "minProperties": 1, "additionalProperties": _by_kind(kinds)}}
    return {
        "$schema": DRAFT,
        "title": "locomt recipe",
        "type": "object",
        "properties": {name: _object(own, nested) for name, own in sections.items()},
        "required": [name for name, own in sections.items() if any(field.required for field in own)],
        "additionalProperties": False,
    }


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"


def _object(fields: list[Field], nested: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    properties = {field.name: _property(field, (nested or {}).get(field.path)) for field in fields}
    required = [field.name for field in fields if field.required]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _property(field: Field, form: dict[str, Any] | None) -> dict[str, Any]:
    if form and not field.required and field.default is None:
        form = {"anyOf": [form, TYPES["None"]]}
    return {
        "description": field.text,
        **(form or _form(field)),
        **({} if field.required else {"default": field.default}),
    }


def _form(field: Field) -> dict[str, Any]:
    if field.path == "data.labels":  # a list, or the name of a file
        return {"anyOf": [TYPES["tuple[str, ...]"], TYPES["str"], TYPES["None"]]}
    if field.path == "train.precision":  # YAML reads 32 as a number
        return {"enum": [*field.choices, 32]}
    if field.choices:
        words = {"enum": list(field.choices)}
        several = {"type": "array", "items": words}
        if field.type.startswith("str | tuple"):
            return {"anyOf": [words, several]}
        return several if field.type.startswith("tuple") else words
    forms = [TYPES[kind] for kind in field.type.split(" | ")]
    if field.kind and field.name != "column" and TYPES["str"] not in forms:
        forms.append(AUTO)
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _modality(kind: str, fields: list[Field]) -> dict[str, Any]:
    whole = _object(fields)
    whole["properties"] = {"kind": {"const": kind}, **whole["properties"]}
    return whole


def _by_kind(kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The fields of the kind that is named, so that an editor says what is wrong in it and not in all others."""
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(kinds)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": form}
            for kind, form in kinds.items()
        ],
    }
