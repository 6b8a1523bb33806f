"""What the fields of `bundle.json` may hold: a bundle may come from anybody, and is looked at before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

TASKS = ("multiclass", "multilabel", "ordinal", "regression", "temporal")
DTYPES = ("uint8", "float32", "int64")
MOST = 2**24


def wrong_in(document: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first field that holds what it cannot, and what is expected there; None where all are right."""
    return next(_wrong(document), None)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _above_0(value: Any) -> bool:
    return _number(value) and 0 < value <= MOST


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _none_or(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


def _box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_number, value)):
        return False
    left, top, right, bottom = value
    return bool(0 <= left < right <= 1 and 0 <= top < bottom <= 1)


def _stream(value: Any) -> bool:
    return value == 0 or _whole(value)


Fields = Mapping[str, tuple[Callable[[Any], bool], str]]
"""Name -> whether it holds what it may, and what that is."""

WHOLE, ABOVE_0 = (_whole, "a whole number from 1"), (_above_0, "a number above 0")
MEDIA: Fields = {
    "column": (lambda value: isinstance(value, str), "a text"),
    "stream": (_none_or(_stream), "a whole number or null"),
    "on_no_stream": (lambda value: value in ("bad", "missing"), "bad or missing"),
}
PICTURES: Fields = {**MEDIA, "size": WHOLE, "box": (_none_or(_box), "four numbers from 0 to 1, or null")}
KINDS: Mapping[str, Fields] = {
    "video": {**PICTURES, "frames": WHOLE},
    "image": PICTURES,
    "audio": {
        **MEDIA,
        **dict.fromkeys(("rate", "mels"), WHOLE),
        **dict.fromkeys(("seconds", "window_ms", "hop_ms", "std"), ABOVE_0),
        "mean": (_number, "a number"),
        "filterbank": (lambda value: value in ("htk", "kaldi"), "htk or kaldi"),
    },
    "features": {"column": MEDIA["column"], "dim": WHOLE, "max_length": WHOLE},
    "text": {"column": MEDIA["column"], "max_length": WHOLE, "tokenizer": MEDIA["column"]},
}
INPUT: Fields = {
    **dict.fromkeys(("window", "step", "tokens", "fewest"), WHOLE),
    "shape": (lambda value: isinstance(value, list) and all(map(_whole, value)), "a list of whole numbers"),
    "dtype": (lambda value: value in DTYPES, f"one of {', '.join(DTYPES)}"),
}
DATA: Fields = {
    "clips": WHOLE,
    "smooth": (lambda value: value == 0 or _above_0(value), "a number from 0"),
    "steps": (_texts, "a list of names"),
    **dict.fromkeys(("crop", "seconds", "step"), (_none_or(_above_0), "a number above 0, or null")),
}
DOCUMENT: Fields = {
    "form": MEDIA["column"],
    "graph": MEDIA["column"],
    "task": (lambda value: value in TASKS, f"one of {', '.join(TASKS)}"),
    "labels": (_texts, "a list of names"),
    **dict.fromkeys(
        ("files", "inputs", "data", "pace", "thresholds", "cost", "versions"),
        (lambda value: isinstance(value, dict), "an object"),
    ),
}


def _of_step(source: Mapping[str, Any]) -> tuple[list[int], str]:
    """The shape and the type of what is read of a step."""
    match source["kind"]:
        case "audio":
            return [source["mels"]], "float32"
        case "features":
            return [source["dim"]], "float32"
        case "text":
            return [], "int64"
        case _:
            return [3, source["size"], source["size"]], "uint8"


def outputs_of(document: Mapping[str, Any]) -> int:
    """How many numbers a graph gives of a sample or a step."""
    if document["task"] == "regression":
        return 1
    labels: list[str] = document["labels"]
    return len(labels) - int(document["task"] == "ordinal")


def _among(values: Any, fields: Fields, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(values, dict):
        yield where, "an object"
        return
    for name, (holds, expected) in fields.items():
        if name not in values or not holds(values[name]):
            yield f"{where}{name}", expected


def _wrong(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _among(document, DOCUMENT, "")
    files, data, inputs = document["files"], document["data"], document["inputs"]
    for name, digest in files.items():
        if not isinstance(digest, str) or ".." in name.split("/") or name.startswith("/") or "\\" in name:
            yield f"files.{name!r:.60}", "a file in the bundle and its SHA-256"
    for name in (document["graph"], "examples.npz"):
        if name not in files:
            yield "files", f"{name!r:.60} among them"
    yield from _among(data, DATA, "data.")
    modalities = data.get("modalities")
    if not isinstance(modalities, dict) or not modalities or list(modalities) != list(inputs):
        yield "data.modalities", "those of inputs"
        return
    for name, source in modalities.items():
        kind = source.get("kind") if isinstance(source, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            yield f"data.modalities.{name!r:.60}", f"a kind out of {', '.join(KINDS)}"
            return
        yield from _among(source, KINDS[kind], f"data.modalities.{name}.")
        place = source.get("tokenizer", "bytes")
        if place != "bytes" and f"{place}/tokenizer.json" not in files:
            yield f"data.modalities.{name}.tokenizer", "bytes, or a folder in the bundle"
        yield from _among(inputs[name], INPUT, f"inputs.{name}.")
        wanted = _of_step(source)
        if (inputs[name]["shape"], inputs[name]["dtype"]) != wanted:
            yield f"inputs.{name}", f"shape {wanted[0]} and dtype {wanted[1]}, by its modality"
        if inputs[name].get("as_long_as", name) not in list(inputs):
            yield f"inputs.{name}.as_long_as", "one of inputs"
    for name, pace in document["pace"].items():
        if name not in inputs or not _above_0(pace):
            yield f"pace.{name!r:.60}", "of a modality, a number above 0"
    if [name for name in data["steps"] if name not in inputs]:
        yield "data.steps", "some of inputs"
    if document["task"] == "temporal":
        for name in ("step", "seconds"):
            if data[name] is None:
                yield f"data.{name}", "a number above 0"
        event = document["thresholds"].get("event")
        if not _number(event) or not 0 <= event <= 1:
            yield "thresholds.event", "a number from 0 to 1"
