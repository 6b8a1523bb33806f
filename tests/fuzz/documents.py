"""Documents: JSON, YAML, CSV and Parquet with another value, column or dialect, or a word where none belongs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import yaml

from fuzz.mutate import NUMBERS, STRANGE, alter, any_value, damage_text, encoded

JSON_WORDS = ('{"a": 1}', "[1]", "null", "NaN", "-Infinity", "1e999", '"\\ud800"', '"\\u0000"', '"\\u001b[31m"', "//")
JSON_WORDS += (",", "{", "}", "[", "]", ":", '"', "\\", '"a": 1, "a": 2,', "\ufeff")
YAML_WORDS = ("&a [*a]", "*a", "!!python/object/apply:os.system ['true']", "!!binary aGk=", "!!set {a, b}", "!x ", "? ")
YAML_WORDS += ("<<: {a: 1}", "2001-01-01", "1:30", "0o17", "0x1F", "1e3", ".nan", ".inf", "~", "---\n", "%YAML 9.9\n")
YAML_WORDS += ("[", "]", "{", "}", ": ", "- ", "#", "|\n", ">\n", "'", '"', "\t", "\n", "&b {x: &c [*b, *c]}", "@", "`")
CSV_WORDS = (
    ",",
    ",,,,",
    ";",
    "\t",
    '"',
    '""',
    "\r",
    "\r\n",
    "\n",
    "\n\n",
    "\ufeff",
    '"a\nb"',
    "nan",
    "1e400",
    "sep=;\n",
)
VIEW_WORDS = (
    " ",
    "\n",
    ":",
    "~",
    ">",
    "self:1",
    "multi:2",
    "a~b:1",
    "a>b:1",
    "self:4000000000",
    "a~a:1",
    "x:0",
    "-1",
    ":",
)
LABEL_WORDS = (
    ";",
    "@",
    "-",
    "a@0-1",
    "b@0.5-0.25",
    "@0-1",
    "a@1e400-2",
    "a@0-1e300",
    "a@-1-1",
    "a@.-.",
    "['a', 'b']",
    "|",
)
LABEL_WORDS += (",", "nan", "inf", "1e39", "35.1e55", "a;b", ";;", "a@0-0.1;a@0.1-0.2", "left", "right ", "LEFT")


def with_words(*words: str) -> Callable[[Random, bytes], bytes]:
    return lambda rng, content: damage_text(rng, content, words)


def json_value(rng: Random, content: bytes) -> bytes:
    """Another value somewhere, or a name twice."""
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 2))):
        value = alter(rng, value)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
    if isinstance(value, dict) and value and rng.random() < 0.1:
        name = rng.choice(list(value))
        text = text[:-1].rstrip() + f", {json.dumps(name)}: {json.dumps(any_value(rng))}}}"
    return encoded(text)


def json_line(rng: Random, content: bytes) -> bytes:
    """Another value in one of several lines of JSON, or in the same place of all of them."""
    lines = [json.loads(line) for line in content.splitlines() if line.strip()]
    if rng.random() < 0.3 and isinstance(lines[0], dict):
        name, new = rng.choice(list(lines[0])), any_value(rng)
        lines = [{**line, name: new} if isinstance(line, dict) else line for line in lines]
    else:
        place = rng.randrange(len(lines))
        lines[place] = alter(rng, lines[place])
    return encoded("".join(json.dumps(line, ensure_ascii=rng.random() < 0.5) + "\n" for line in lines))


def yaml_value(rng: Random, content: bytes) -> bytes:
    value = yaml.safe_load(content)
    for _ in range(rng.choice((1, 1, 2))):
        value = alter(rng, value)
    return encoded(yaml.safe_dump(value, sort_keys=False, allow_unicode=rng.random() < 0.5))


def csv_cells(rng: Random, content: bytes) -> bytes:
    """Another cell, column, row or dialect."""
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    row = rng.choice(rows)
    place = rng.randrange(len(row))
    column = rng.randrange(len(rows[0]))
    word = rng.choice((*STRANGE, *NUMBERS, *LABEL_WORDS))
    match rng.randrange(7):
        case 0 | 1:
            row[place] = word
        case 2:
            row[place] += word
        case 3:
            rows = [[*line[:column], word if n else line[column], *line[column + 1 :]] for n, line in enumerate(rows)]
        case 4:
            rows = [[*line[:column], *line[column + 1 :]] for line in rows]
        case 5:
            rows.insert(rng.randrange(len(rows) + 1), rng.choice((row, row[:-1], [*row, word], [], [word] * len(row))))
        case _:
            rng.shuffle(rows)
    text = io.StringIO()
    delimiter = rng.choice((",", ",", ",", ";", "\t", "|"))
    csv.writer(text, delimiter=delimiter, lineterminator=rng.choice(("\n", "\r\n", "\r")), escapechar="\\").writerows(
        rows
    )
    return encoded(text.getvalue())


def parquet_columns(rng: Random, content: bytes) -> bytes:
    """A column of another type: numbers, lists, bytes, times, structures, with and without gaps."""
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    place, count = rng.randrange(table.num_columns), table.num_rows
    kinds: tuple[list[Any], ...] = (
        [1, None] * count,
        [1.0, math.nan] * count,
        [True] * count,
        [b"\xff\0"] * count,
        [["left", "right"], []] * count,
        [[1, None]] * count,
        [["a;b"]] * count,
        [{"a": 1}] * count,
        [None] * count,
        [np.datetime64("2001-01-01")] * count,
        [2**62] * count,
        [rng.choice(STRANGE).encode("utf-8", "replace").decode()] * count,
    )
    name = rng.choice((table.column_names[place], "", "label", "id", "split", "\x1b[31m"))
    table = table.set_column(place, name, pyarrow.array(rng.choice(kinds)[:count]))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()
