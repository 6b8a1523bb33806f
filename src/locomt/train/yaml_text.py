"""YAML that anybody may have written: plain values, every key once, nothing that contains itself or swells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from locomt.nn.fields import LARGEST
from locomt.train.config import RecipeError

MOST_BYTES, MOST_VALUES, DEEPEST = 2**20, 100_000, 100
"""Of a recipe: its size, its values once every alias is written out, and how deep they are nested."""


class _Loader(yaml.SafeLoader):
    """What PyYAML calls safe, with every fault an error that knows its line."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError):  # of a `!!int ""` or 2024-13-45
            raise _fault(node, f"{str(node.value)[:60]!r} is no {node.tag.rpartition(':')[2]}") from None
        if isinstance(value, int) and abs(value) > LARGEST:
            raise _fault(node, f"{node.value[:60]!r} is larger than any number here; quote it if it is a name")
        return value


def _fault(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def read_yaml(path: Path) -> Any:
    """The values in a YAML file.

    Raises:
        RecipeError: it holds something else: the line, and what is wrong there.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise RecipeError(f"{path}: expected a recipe, of at most {MOST_BYTES:,} bytes, got more")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}, line {line}: expected YAML in UTF-8, got something that is no text") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The values in a YAML text; `where` heads the error messages.

    Raises:
        RecipeError: it is no YAML, has a key twice, contains itself, or asks for other than plain values.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _weigh(node, {}, 1)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(f"{where}, line {line}: not valid YAML: the character {error.character:#x}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{where}{place}: not valid YAML: {getattr(error, 'problem', error)}") from None
    except RecursionError:
        raise RecipeError(f"{where}: not a recipe: nested more than {DEEPEST} deep") from None


def _weigh(node: yaml.Node, weights: dict[yaml.Node, int], depth: int) -> int:
    """How many values a node stands for with every alias written out; 0 in `weights` while it is being looked at."""
    if node in weights:
        if not weights[node]:
            raise _fault(node, "the value contains itself")
        return weights[node]
    if depth > DEEPEST:
        raise _fault(node, f"nested more than {DEEPEST} deep")
    weights[node] = 0
    total = 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise _fault(key, f"the key {key.value[:60]!r} is there twice; which of them counts?")
                seen.add((key.tag, key.value))
            total += _weigh(key, weights, depth + 1) + _weigh(value, weights, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_weigh(part, weights, depth + 1) for part in node.value)
    if total > MOST_VALUES:
        raise _fault(node, f"more than {MOST_VALUES:,} values once its aliases are written out")
    weights[node] = total
    return total
