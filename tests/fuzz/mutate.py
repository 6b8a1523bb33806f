"""Damage that knows no format: of bytes, of texts, and of values such as JSON and YAML hold."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from random import Random
from typing import Any

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
NUMBERS = (
    *("0", "-0", "1", "-1", "2", "3", "0.5", "1e-300", "1e300", "-1e300", "1e400", "NaN", "Infinity", "-Infinity"),
    *("nan", "inf", "-inf", "65536", "2147483647", "2147483648", "4000000000", "9223372036854775808", "1" + "0" * 30),
    *("9" * 5000, "1_000", "0x10", "01", "1.", ".5", "1e5", "٣", "1,5"),
)
STRANGE = (
    *("", " ", "\0", "a\0b", "\x1b[31mred\x1b[0m", "\x9b2J", "\x07", "a\rb", "a\nb", "\u2028", "\ufeff", "\u202e"),
    *("é", "e\u0301", "ﬁ", "\ud800", "\udfff", "\U0001f600", "\uffff", "x" * 300, "x" * 70_000, "%s%n{0}{}"),
    *("..", "../../etc/passwd", "/dev/zero", "/dev/null", "/proc/self/mem", "~", "a/b", "C:\\x", "file:///etc/passwd"),
    *("none", "null", "true", "self", "multi", "bytes", "nan", "[]", "['a', 'b']", "a;b", ";", "a|b", "a,b", "-x", "="),
)
"""Words that programs take for something else than what they are."""


def damage(rng: Random, content: bytes) -> bytes:
    """Bytes with one thing wrong: flipped, cut off, cut out, doubled, moved, overwritten, an extreme number in them."""
    size = len(content)
    if not size:
        return rng.randbytes(rng.choice((1, 4, 100)))
    place = _place(rng, size)
    length = min(rng.choice((1, 2, 4, 16, 256, 4096)), size)
    piece = content[place : place + length]
    match rng.randrange(9):
        case 0 | 1:
            changed = bytearray(content)
            for _ in range(rng.choice((1, 1, 2, 8, 64))):
                changed[_place(rng, size)] ^= 1 << rng.randrange(8)
            return bytes(changed)
        case 2:
            return content[:place]
        case 3:
            return content[:place] + content[place + length :]
        case 4:
            return content[:place] + piece * rng.choice((2, 2, 3, 50)) + content[place + length :]
        case 5:
            there = _place(rng, size)
            return content[:there] + piece + content[there + length :]
        case 6:
            return (
                content[:place]
                + rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
                + content[place + length :]
            )
        case 7:
            return content + rng.choice((content, bytes(length), rng.randbytes(length)))
        case _:
            return with_number(rng, content)


def _place(rng: Random, size: int) -> int:
    """Anywhere, more often in the head, where a format says what it is."""
    return rng.randrange(min(size, 128)) if rng.random() < 0.3 else rng.randrange(size)


def with_number(rng: Random, content: bytes) -> bytes:
    """An extreme number somewhere, in 1 to 8 bytes of either order, or one that is next to what was there."""
    width = rng.choice((1, 2, 4, 4, 8))
    if len(content) < width:
        return rng.randbytes(width)
    order = rng.choice(("big", "little"))
    place = _place(rng, len(content) - width + 1)
    old = int.from_bytes(content[place : place + width], order)
    new = rng.choice((*EXTREMES, old + 1, old - 1, old * 2, old // 2, old + 256)) % 256**width
    return content[:place] + new.to_bytes(width, order) + content[place + width :]


def damage_text(rng: Random, content: bytes, words: Sequence[str] = ()) -> bytes:
    """A text with one thing wrong: a word of the format or a strange one in it, another number, lines out of order."""
    text = content.decode("utf-8", "surrogateescape")
    place = rng.randrange(len(text) + 1)
    match rng.randrange(8):
        case 0 | 1:
            text = text[:place] + rng.choice((*words, *words, *STRANGE)) + text[place:]
        case 2 | 3:
            text = _replaced(rng, text, r"\d+(?:\.\d+)?", NUMBERS)
        case 4:
            text = _replaced(rng, text, r"[\w.]+", (*STRANGE, *NUMBERS))
        case 5:
            lines = text.splitlines(keepends=True) or [""]
            here, there = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[here] = rng.choice(("", lines[here] * 2, lines[there], lines[here].strip() + lines[there]))
            text = "".join(lines)
        case 6:
            word = rng.choice((*words, "[", "(", '"', "a"))
            text = text[:place] + word * rng.choice((10, 1000, 100_000 // len(word or "x"))) + text[place:]
        case _:
            end = min(len(text), place + rng.choice((1, 3, 20)))
            text = text[:place] + text[end:]
    return encoded(text)


def encoded(text: str) -> bytes:
    """UTF-8; what cannot be said in it as other programs write it, which is wrong too."""
    return (
        b"".join(
            char.encode("utf-8", "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass")
            for char in text
        )
        if re.search("[\ud800-\udfff]", text)
        else text.encode()
    )


def _replaced(rng: Random, text: str, pattern: str, others: Sequence[str]) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text + rng.choice(others)
    chosen = rng.choice(found)
    return text[: chosen.start()] + rng.choice(others) + text[chosen.end() :]


def alter(rng: Random, value: Any) -> Any:
    """A value with one thing in it changed: of another type, missing, renamed, doubled, extreme."""
    path: list[Any] = []
    node = value
    while isinstance(node, dict | list | tuple) and node and rng.random() < 0.85:
        path.append(rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node)))
        node = node[path[-1]]
    return _with(value, path, _changed(rng, node))


def _with(value: Any, path: Sequence[Any], new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    if isinstance(value, dict):
        return {key: _with(entry, rest, new) if key == first else entry for key, entry in value.items()}
    changed = [_with(entry, rest, new) if place == first else entry for place, entry in enumerate(value)]
    return changed if isinstance(value, list) else tuple(changed)


def _changed(rng: Random, node: Any) -> Any:
    if rng.random() < 0.4:
        return any_value(rng)
    if isinstance(node, bool) or node is None:
        return rng.choice((None, True, False, 0, 1, "true"))
    if isinstance(node, int | float):
        near = (
            node + 1,
            node - 1,
            -node,
            node * 2,
            node / 2,
            node * 10**6,
            node * 1.0,
            str(node),
            [node],
            [node, node],
        )
        return rng.choice(near) if math.isfinite(node) else 0
    if isinstance(node, str):
        place = rng.randrange(len(node) + 1)
        near = (f" {node}", f"{node} ", node.upper(), node[:place], node[::-1], node * 3, [node], {node: node})
        return rng.choice((*near, node[:place] + rng.choice(STRANGE) + node[place:]))
    if isinstance(node, dict):
        entries = list(node.items())
        if not entries:
            return {"a": any_value(rng)}
        key, entry = rng.choice(entries)
        _, other = rng.choice(entries)
        rest = {name: value for name, value in entries if name != key}
        return rng.choice(
            (rest, {**node, rng.choice(STRANGE): entry}, {**rest, f"{key}x": entry}, {**node, key: other}, list(node))
        )
    if isinstance(node, list | tuple):
        items = list(node)
        one = [rng.choice(items)] if items else [0]
        return type(node)(rng.choice((items[1:], items + one, items[::-1], items * 2, one * 1000, [items], items[:1])))
    return node


def any_value(rng: Random) -> Any:
    """Anything that JSON can hold, and some that only Python can."""
    numbers = (0, 1, -1, 2, 0.5, -0.0, 1e-300, 1e300, math.nan, math.inf, -math.inf, 2**31, 2**63, 2**64, 10**30)
    deep: Any = []
    for _ in range(rng.choice((3, 200))):
        deep = [deep]
    small = (None, True, False, [], {}, [[]], {"": None}, [1, 2], ["a"], {"a": 1}, [None], [0] * 5000)
    return rng.choice((rng.choice(numbers), rng.choice(STRANGE), rng.choice(small), rng.choice((*numbers, deep))))
