"""Which damage fits which file, by the end of its name; a case is a folder of files of which some are damaged."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import pyarrow
import pyarrow.parquet
import torch
import yaml

from fuzz import chunks
from fuzz.mutate import NUMBERS, STRANGE, alter, any_value, damage, damage_text, encoded

Case = dict[str, bytes | None]
"""Name of a file within the folder -> what it holds; None is an empty folder."""
Damage = Callable[[Random, bytes], bytes]

UNFIT = (ValueError, KeyError, TypeError, IndexError, EOFError, OSError, struct.error, zipfile.BadZipFile)
UNFIT += (tarfile.TarError, zlib.error, pickle.UnpicklingError, AttributeError)
UNFIT += (av.FFmpegError, pyarrow.ArrowException, OverflowError, RecursionError, RuntimeError, yaml.YAMLError)
"""What the libraries raise that take files apart and write them, where a file has been damaged before or cannot be."""

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


def text_of(*words: str) -> Damage:
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


def npy_header(rng: Random, content: bytes) -> bytes:
    """Another header, its length stated right or not; or an array of another kind."""
    if rng.random() < 0.3:
        return _strange_array(rng)
    words = (
        "'<f4'",
        "'|O'",
        "'<U9'",
        "True",
        "()",
        "(0, 6)",
        "(-1, 6)",
        "(4000000000, 6)",
        "(2**40,)",
        "None",
        "[1, 2]",
    )

    def damage_header(rng: Random, body: bytes, tag: bytes) -> bytes:
        return damage_text(rng, body, words) if tag == b"header" else damage(rng, body)

    return chunks.changed(chunks.parse_npy, chunks.build_npy, damage_header)(rng, content)


def _strange_array(rng: Random) -> bytes:
    arrays = (
        np.zeros((0, 6), np.float32),
        np.zeros((3, 0)),
        np.zeros((2, 3, 6)),
        np.float64(3),
        np.full((2, 6), 1e300),
        np.full((2, 6), np.nan),
        np.ones((2, 6), bool),
        np.ones((2, 6), complex),
        np.array([["a"] * 6]),
        np.asfortranarray(np.ones((5, 6), ">i8")),
        np.ones((4, 6), np.float16),
        np.zeros(3, [("a", "f4"), ("b", "O")]),
        np.array(["2001-01-01"], "M8[D]"),
        np.ones((3, 6), np.longdouble),
    )
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(rng.choice(arrays)), allow_pickle=True)
    return buffer.getvalue()


def zip_members(rng: Random, content: bytes) -> bytes:
    """Something else in an archive, its checksums being right."""

    def damage_member(rng: Random, body: bytes, tag: bytes) -> bytes:
        return npy_header(rng, body) if tag.endswith(b".npy") and rng.random() < 0.7 else damage(rng, body)

    return chunks.changed(chunks.parse_zip, chunks.build_zip, damage_member)(rng, content)


def tensors_of(content: bytes) -> tuple[Any, bytes]:
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def safetensors_header(rng: Random, content: bytes) -> bytes:
    """Another header, its length stated right or not; or other numbers."""
    header, numbers = tensors_of(content)
    if rng.random() < 0.3:
        numbers = rng.choice((damage(rng, numbers), b"\xff" * len(numbers), bytes(len(numbers))))
    else:
        header = alter(rng, header)
    text = encoded(json.dumps(header))
    size = len(text) if rng.random() < 0.9 else rng.choice((0, len(text) - 1, 2**40, 2**64 - 1))
    return struct.pack("<Q", size) + text + numbers


def pickled_value(rng: Random, content: bytes) -> bytes:
    """Another value in what `torch.save` wrote: a tensor of another size or kind, a name that is missing."""
    value = torch.load(io.BytesIO(content), weights_only=True)
    value = alter(rng, value)
    if rng.random() < 0.5:
        value = _other_tensor(rng, value)
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _other_tensor(rng: Random, value: Any) -> Any:
    """The value with one of its tensors changed."""
    if isinstance(value, torch.Tensor):
        with torch.no_grad():
            others = (
                value[:1] if value.ndim else value[None],
                value.flatten(),
                value.to(torch.float64) * torch.nan,
                value.to(torch.int64),
                torch.zeros(0),
                value[None],
                value.to(torch.complex64),
                value.to_sparse() if value.ndim else value,
                value.to("meta"),
            )
        return rng.choice(others)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return {**value, key: _other_tensor(rng, value[key])}
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        return [_other_tensor(rng, entry) if n == place else entry for n, entry in enumerate(value)]
    return value


def retimed(suffix: str) -> Damage:
    """The same packets at other times: shifted, with a hole, all at once, backwards, far apart, without any, fewer."""

    def apply(rng: Random, content: bytes) -> bytes:
        how, start = rng.randrange(8), rng.random()
        target = io.BytesIO()
        with av.open(io.BytesIO(content)) as source, av.open(target, "w", format=MUXERS[suffix]) as output:
            streams = {
                s.index: output.add_stream_from_template(s) for s in source.streams if s.type in ("video", "audio")
            }
            packets = [packet for packet in source.demux() if packet.size and packet.stream.index in streams]
            for n, packet in enumerate(packets):
                late = n / len(packets) > start
                ticks = max(1, int(Fraction(1) / (packet.time_base or Fraction(1, 1000))))
                if how == 0 and late and rng.random() < 0.8:
                    continue
                for name in ("pts", "dts"):
                    time = getattr(packet, name)
                    shifts = {
                        1: time and time + late * 3 * ticks,
                        2: 0,
                        3: time and -time,
                        4: time and time * 10**6,
                        5: None if name == "pts" else time,
                        6: time and time - 5 * ticks,
                        7: rng.randrange(10 * ticks),
                    }
                    setattr(packet, name, shifts.get(how, time))
                packet.stream = streams[packet.stream.index]
                with suppress(av.FFmpegError):  # a muxer that does not take such times
                    output.mux(packet)
        return target.getvalue()

    return apply


MUXERS = {
    ".mp4": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".flv": "flv",
    ".ts": "mpegts",
}
_MP4 = chunks.changed(chunks.parse_boxes, chunks.build_boxes)
_RIFF = chunks.changed(chunks.parse_riff, chunks.build_riff)
_EBML = chunks.changed(chunks.parse_ebml, chunks.build_ebml)

FORMATS: dict[str, tuple[Damage, ...]] = {
    ".json": (json_value, json_value, text_of(*JSON_WORDS)),
    ".jsonl": (json_line, json_line, text_of(*JSON_WORDS)),
    ".ndjson": (json_line, text_of(*JSON_WORDS)),
    ".yaml": (yaml_value, yaml_value, text_of(*YAML_WORDS)),
    ".csv": (csv_cells, csv_cells, text_of(*CSV_WORDS)),
    ".views": (text_of(*VIEW_WORDS),),
    ".label": (text_of(*LABEL_WORDS),),
    ".txt": (text_of(),),
    ".parquet": (parquet_columns,),
    ".npy": (npy_header,),
    ".npz": (zip_members,),
    ".ckpt": (pickled_value, pickled_value, zip_members),
    ".bin": (zip_members,),
    ".safetensors": (safetensors_header, safetensors_header),
    ".mp4": (_MP4, _MP4, retimed(".mp4")),
    ".m4a": (_MP4,),
    ".mov": (_MP4, _MP4, retimed(".mov")),
    ".wav": (_RIFF,),
    ".webp": (_RIFF,),
    ".avi": (_RIFF, _RIFF, retimed(".avi")),
    ".mkv": (_EBML, _EBML, retimed(".mkv")),
    ".webm": (_EBML, retimed(".webm")),
    ".flv": (chunks.changed(chunks.parse_flv, chunks.build_flv), chunks.other_streams, retimed(".flv")),
    ".ts": (chunks.changed(chunks.parse_ts, chunks.build_ts), retimed(".ts")),
    ".png": (chunks.changed(chunks.parse_png, chunks.build_png),),
    ".jpg": (chunks.changed(chunks.parse_jpeg, chunks.build_jpeg),),
    ".ogg": (chunks.changed(chunks.parse_ogg, chunks.build_ogg),),
    ".opus": (chunks.changed(chunks.parse_ogg, chunks.build_ogg),),
    ".tar": (chunks.changed(chunks.parse_tar, chunks.build_tar), chunks.strange_member),
}
"""Suffix -> what can be done to such a file besides damaging its bytes."""


def damage_file(rng: Random, name: str, content: bytes) -> bytes:
    """One thing wrong with a file."""
    known = FORMATS.get(Path(name).suffix.lower(), ())
    if known and rng.random() < 0.75:
        try:
            with warnings.catch_warnings():  # of NumPy and torch, about the numbers that are wanted here
                warnings.simplefilter("ignore")
                return rng.choice(known)(rng, content)
        except UNFIT:
            pass  # it has been damaged before, or the library refuses to write such a thing
    return damage(rng, content)


def damage_case(rng: Random, case: Case, whole: Collection[str] = ()) -> Case:
    """A folder with one to four things wrong.

    Args:
        rng: draws what.
        case: the folder.
        whole: ends of the names of those files that stay as they are.
    """
    case = dict(case)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
        names = [name for name in case if not name.endswith(tuple(whole))] if whole else list(case)
        name, other = rng.choice(names), rng.choice(names)
        content = case[name]
        if len(names) > 1 and rng.random() < 0.06:
            match rng.randrange(4):
                case 0:
                    del case[name]
                case 1:
                    case[name] = None
                case 2:
                    case[name], case[other] = case[other], content
                case _:
                    case[name] = b""
        elif content is not None:
            case[name] = damage_file(rng, name, content)
    return case


def read_case(folder: Path) -> Case:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def write_case(case: Case, folder: Path) -> None:
    for name, content in case.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
