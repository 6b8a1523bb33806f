"""Which damage fits which file, by the end of its name; a case is a folder of files of which some are damaged."""

from __future__ import annotations

import csv
import io
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

import av
import pyarrow
import yaml

from fuzz import chunks
from fuzz.archives import (
    build_tar,
    npy_header,
    parse_tar,
    pickled_value,
    safetensors_header,
    strange_member,
    zip_members,
)
from fuzz.documents import (
    CSV_WORDS,
    JSON_WORDS,
    LABEL_WORDS,
    VIEW_WORDS,
    YAML_WORDS,
    csv_cells,
    json_line,
    json_value,
    parquet_columns,
    with_words,
    yaml_value,
)
from fuzz.mutate import damage

Case = dict[str, bytes | None]
"""Name of a file within the folder -> what it holds; None is an empty folder."""
Damage = Callable[[Random, bytes], bytes]

UNFIT = (ValueError, KeyError, TypeError, IndexError, EOFError, OSError, struct.error, zipfile.BadZipFile)
UNFIT += (csv.Error, tarfile.TarError, zlib.error, pickle.UnpicklingError, AttributeError)
UNFIT += (av.FFmpegError, pyarrow.ArrowException, OverflowError, RecursionError, RuntimeError, yaml.YAMLError)
"""What the libraries raise that take files apart and write them, where a file has been damaged before or cannot be."""


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
    ".json": (json_value, json_value, with_words(*JSON_WORDS)),
    ".jsonl": (json_line, json_line, with_words(*JSON_WORDS)),
    ".ndjson": (json_line, with_words(*JSON_WORDS)),
    ".yaml": (yaml_value, yaml_value, with_words(*YAML_WORDS)),
    ".csv": (csv_cells, csv_cells, with_words(*CSV_WORDS)),
    ".views": (with_words(*VIEW_WORDS),),
    ".label": (with_words(*LABEL_WORDS),),
    ".txt": (with_words(),),
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
    ".tar": (chunks.changed(parse_tar, build_tar), strange_member),
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
