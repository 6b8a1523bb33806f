"""Parts of a section of a recipe that have fields of their own: dataclasses of numbers and switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from locomt.hints import unknown_name
from locomt.require import ConfigError

Section = TypeVar("Section")


def make_section(kind: type[Section], value: Any, where: str, example: str) -> Section:
    """A dataclass out of a mapping, or what is one already.

    Raises:
        ConfigError: unknown field, or a value that cannot be; `where` heads the message.
    """
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected {example}, got {value!r}")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in value:
        if name not in known:
            raise ConfigError(f"{where}: {unknown_name(name, known)}")
    try:
        return kind(**value)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None
