"""From logits to what `locomt predict` says, in NumPy: each task's `answer` in `locomt.tasks`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
TICK = 1e-6


def answer(document: Mapping[str, Any], logits: Array, top: int) -> dict[str, Any]:
    """`predictions` or `events` of a sample; `logits` of its real steps."""
    task, labels = document["task"], document["labels"]
    if task == "temporal":
        return {"events": _events(document, logits)}
    guess = _GUESSES[task]
    if logits.ndim == 1:
        return {"predictions": guess(logits, labels, top)}
    steps = enumerate(guess(row, labels, top) for row in logits)
    return {"predictions": [{"step": i, **found} for i, guesses in steps for found in guesses]}


def sigmoid(values: Array) -> Array:
    with np.errstate(over="ignore"):
        found: Array = 1 / (1 + np.exp(-values))
    return found


def _likeliest(ranks: Array, scores: Array, labels: Sequence[str], top: int) -> list[dict[str, Any]]:
    order = np.argsort(-ranks, kind="stable")[:top]
    return [{"label": labels[i], "score": float(scores[i])} for i in order]


def _multiclass(logits: Array, labels: Sequence[str], top: int) -> list[dict[str, Any]]:
    shares = np.exp(logits - logits.max())
    return _likeliest(logits, shares / shares.sum(), labels, top)


def _multilabel(logits: Array, labels: Sequence[str], top: int) -> list[dict[str, Any]]:
    return _likeliest(logits, sigmoid(logits), labels, top)


def _ordinal(outputs: Array, labels: Sequence[str], top: int) -> list[dict[str, Any]]:
    count = len(outputs)
    shares = (np.arange(count, 0, -1, dtype=np.float32) / np.float32(count + 1)).astype(np.float32)
    alike = np.log(shares / (1 - shares))
    falls = -np.diff(alike) * np.logaddexp(0, outputs[1:]) / np.float32(math.log(2))
    first = alike[:1] + outputs[:1]
    logits = np.concatenate([first, first - np.cumsum(falls)])
    above = sigmoid(logits)
    scores = np.maximum(np.append(1.0, above) - np.append(above, 0.0), 0)
    ranks = scores.copy()
    ranks[int((logits > 0).sum())] = math.inf
    return _likeliest(ranks, scores, labels, top)


def _regression(logits: Array, labels: Sequence[str], top: int) -> list[dict[str, Any]]:
    return [{"label": "value", "score": float(logits[0])}]


_GUESSES: dict[str, Callable[[Array, Sequence[str], int], list[dict[str, Any]]]] = {
    "multiclass": _multiclass,
    "multilabel": _multilabel,
    "ordinal": _ordinal,
    "regression": _regression,
}


def _events(document: Mapping[str, Any], logits: Array) -> list[dict[str, Any]]:
    data, threshold = document["data"], document["thresholds"]["event"]
    step, seconds = data["step"], data["seconds"]
    window = 2 * int(min(data["smooth"] / step / 2 + TICK, len(logits))) + 1  # a longer one changes nothing more
    found = []
    for label, scores in zip(document["labels"], sigmoid(logits).T, strict=True):
        on = np.pad((scores >= threshold).astype(np.int64), window // 2)
        on = (np.lib.stride_tricks.sliding_window_view(on, window).sum(axis=1) > window // 2) if len(scores) else on
        edges = np.diff(on.astype(np.int64), prepend=0, append=0)
        for begin, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            score = float(scores[begin:end].mean())
            found.append({"label": label, "start": begin * step, "end": min(end * step, seconds), "score": score})
    found = [{**event, "start": float(event["start"]), "end": float(event["end"])} for event in found]
    return sorted(found, key=lambda event: event["start"])
