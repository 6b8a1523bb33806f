"""A bundle, open: its graph in ONNX Runtime, and what turns files into its inputs and its outputs into answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from locomt.data.errors import DataError
from locomt.runtime.answers import answer
from locomt.runtime.bundle_error import BundleError
from locomt.runtime.contents import EXAMPLES, opened
from locomt.runtime.fields import outputs_of
from locomt.runtime.reading import Array, Item, Reader

NOT_GIVEN = "nothing was given of it"
TICK = 1e-6


@dataclass(frozen=True, repr=False)
class Bundle:
    """An exported model that answers files.

    Attributes:
        folder: of the bundle.
        document: its `bundle.json`.
        session: of ONNX Runtime.
    """

    folder: Path
    document: Mapping[str, Any]
    session: Any

    def __repr__(self) -> str:
        return f"Bundle({str(self.folder)!r}, {self.document['task']} of {', '.join(self.document['inputs'])})"

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """See `locomt.runtime.load`."""
        document = opened(folder)
        if document["form"] != "onnx":
            raise BundleError(
                f"{folder}: of form {document['form']!r}, which torch opens; locomt.runtime takes bundles of "
                "`locomt export --format onnx`"
            )
        session = session_of(path := folder / document["graph"])
        given, taken = [entry.shape for entry in session.get_outputs()], len(session.get_inputs())
        inputs, outputs = len(document["inputs"]) + 1, outputs_of(document)
        if taken != inputs or len(given) != 1 or given[0][-1:] != [outputs]:
            raise BundleError(
                f"{path}: expected a graph of {inputs} inputs and one output of {outputs} numbers, "
                f"got {taken} and {given}; export it again"
            )
        return cls(folder, document, session)

    @property
    def labels(self) -> list[str]:
        """The names of the outputs; empty for regression."""
        return list(self.document["labels"])

    def examples(self) -> list[tuple[dict[str, Array], Array]]:
        """The inputs of each example in the bundle, without what it lacks, and the logits that are expected."""
        with np.load(self.folder / EXAMPLES, allow_pickle=False) as arrays:
            count = len({name.split(".")[0] for name in arrays})
            return [
                (
                    {n: arrays[f"{i}.input.{n}"] for n in self.document["inputs"] if f"{i}.input.{n}" in arrays},
                    arrays[f"{i}.logits"],
                )
                for i in range(count)
            ]

    def logits(self, samples: Sequence[Mapping[str, Array]]) -> Array:
        """What the graph says of samples, each a mapping from modality to `[steps, ...]`; padding is its affair."""
        return run(self.session, *feed(self.document["inputs"], samples))

    def predict(self, items: Item | Iterable[Item], *, top: int = 5) -> list[dict[str, Any]]:
        """Labels for files, as `locomt predict --json` gives them.

        Args:
            items: a sample each: a file, or a mapping from modality to file (to the text itself for kind text); or one
                of them by itself.
            top: how many labels to give, the likeliest first.
        """
        return list(self.predictions(items, top=top))

    def predictions(self, items: Item | Iterable[Item], *, top: int = 5) -> Iterator[dict[str, Any]]:
        """What `predict` answers, one after the other."""
        if top < 1:
            raise ValueError(f"expected to give the top 1 or more labels, got {top}")
        reader = Reader(self.folder, self.document["data"])
        alone = isinstance(items, str | PathLike | Mapping)
        for item in [items] if alone else items:  # type: ignore[union-attr]
            yield self._answer(reader, item, top)  # type: ignore[arg-type]

    def _answer(self, reader: Reader, item: Item, top: int) -> dict[str, Any]:
        document, pace = self.document, self.document["pace"]
        name = ", ".join(map(str, item.values())) if isinstance(item, Mapping) else str(item)
        try:
            name, clips, missing = reader.read(item)
        except DataError as error:
            return {"file": name, "error": error.reason}
        except OSError as error:
            return {"file": name, "error": str(error)}
        first = clips[0]
        if pace and not first.keys() & pace.keys():
            return {"file": name, "error": f"expected one or more of {', '.join(pace)}, which have a time axis"}
        logits = self.logits(clips).mean(axis=0)
        if pace:
            lengths = {n: np.float32(len(first[n])) for n in pace if n in first}
            ends = [np.arange(len(logits)) < n / np.float32(pace[m]) - np.float32(TICK) for m, n in lengths.items()]
            logits = logits[: int(np.any(ends, axis=0).sum())]
        elif steps := document["data"]["steps"]:
            logits = logits[: max((len(first[n]) for n in steps if n in first), default=0)]
        found = {"file": name, **answer(document, logits, top)}
        lacking = {n: missing.get(n, NOT_GIVEN) for n in document["inputs"] if n not in first}
        return found | ({"missing": list(lacking), "why": lacking} if lacking else {})


def session_of(path: Path, threads: int = 0) -> Any:
    """A graph in ONNX Runtime, on the CPU.

    Raises:
        BundleError: it cannot be opened.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own, bare and of many kinds
        raise BundleError(f"{path}: ONNX Runtime cannot open it ({' '.join(str(error).split())[:200]})") from None


def run(session: Any, inputs: Sequence[Array], lengths: Array) -> Array:
    """The logits."""
    names = [entry.name for entry in session.get_inputs()]
    found: Array = session.run(None, dict(zip(names, [*inputs, lengths], strict=True)))[0]
    return found


def feed(inputs: Mapping[str, Any], samples: Sequence[Mapping[str, Array]]) -> tuple[list[Array], Array]:
    """Samples side by side as a graph takes them: padded to whole tokens, 0 where there is nothing, and all lengths."""
    lengths = np.array([[len(sample[n]) if n in sample else 0 for n in inputs] for sample in samples], np.int64)
    groups: dict[Any, int] = {}
    for (name, own), most in zip(inputs.items(), lengths.max(axis=0), strict=True):
        group = own.get("as_long_as", name)
        groups[group] = max(groups.get(group, 0), steps_for(own, int(most)))
    arrays = []
    for name, own in inputs.items():
        padded = np.zeros((len(samples), groups[own.get("as_long_as", name)], *own["shape"]), own["dtype"])
        for place, sample in zip(padded, samples, strict=True):
            if name in sample:
                place[: len(sample[name])] = sample[name][: len(place)]
        arrays.append(padded)
    return arrays, lengths


def steps_for(own: Mapping[str, int], steps: int) -> int:
    """How many steps a graph takes for so many: whole tokens, `fewest` of them at least, `tokens` at most."""
    tokens = -(-(steps - own["window"]) // own["step"]) + 1
    return (min(own["tokens"], max(own["fewest"], tokens)) - 1) * own["step"] + own["window"]
