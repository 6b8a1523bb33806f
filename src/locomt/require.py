"""Refusing a configuration in one line."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration that cannot be built: says which field, what it wants and what came."""


def require(condition: bool, message: str, error: type[ValueError] = ConfigError) -> None:
    """Raise `error` with this message where a condition does not hold."""
    if not condition:
        raise error(message)
