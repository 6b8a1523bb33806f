"""Predictions in a file, a row a sample: as they come in `FILE.part/`, where a stopped run goes on, then as the file.

So the file is whole or not there. What was half written when a run was stopped is done again.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from locomt.files import remove, replacing, to_json
from locomt.lock import locked
from locomt.nn.hub import WEIGHTS
from locomt.train.predictor import Predictor

AT_ONCE = 10_000
"""Rows of a Parquet file that are held in memory."""
ON = 0.5
"""The probability from which a label of several is given."""


class PredictionFile:
    """Where predictions go.

    A row has `file`, the answer, `missing` (modality: why the sample went without it) and `error` (why it could not be
    read). The answer is `label`, as manifests have it, and `probabilities`; of a regression `value`; of events in time
    `events`, and of labels for steps `predictions`. JSON lines have it so. In CSV and Parquet there is a column
    `p_LABEL` for each probability, and what else is no text or number is JSON.

    Args:
        path: a file that ends in .csv, .jsonl or .parquet, and is not there yet.
        predictor: whose predictions they are.

    Raises:
        ValueError: it is there, ends otherwise, or is Parquet without pyarrow.
    """

    def __init__(self, path: Path, predictor: Predictor) -> None:
        writers = {".csv": self._write_csv, ".jsonl": self._write_json_lines, ".parquet": self._write_parquet}
        if path.suffix not in writers:
            raise ValueError(f"expected a file that ends in {', '.join(writers)}, got {path}")
        if path.exists():
            raise ValueError(f"{path} is there already; remove it, or name another file")
        if path.suffix == ".parquet":
            _pyarrow(path)
        self.path, self.labels, self.target = path, predictor.labels, predictor.data.target
        self.part = path.with_name(f"{path.name}.part")
        self._rows, self._write = self.part / "rows.jsonl", writers[path.suffix]
        self._mark = {"model": _mark(predictor)}
        self._file: IO[bytes] | None = None

    @contextmanager
    def open(self) -> Iterator[set[str]]:
        """What is there of a run that was stopped: the names of its samples. After the block comes the whole file.

        Raises:
            ValueError: that was another model's, or another process is writing it.
        """
        with locked(self.part):
            done = self._begin()
            with self._rows.open("ab") as self._file:
                yield done
            with replacing(self.path) as temporary:
                self._write(temporary)
            remove(self._rows)
        remove(self.part)

    def _begin(self) -> set[str]:
        self._rows.touch()
        done: set[str] = set()
        end = 0
        with self._rows.open("r+b") as file:
            for number, line in enumerate(file):
                entry = _whole(line)
                if entry is None:  # it was being written
                    break
                if not number and entry != self._mark:
                    raise ValueError(f"{self.part} has predictions of another model; remove it, or name another file")
                if number:
                    done.add(entry["file"])
                end += len(line)
            file.truncate(end)
            if not end:
                file.seek(0)
                file.write(_line(self._mark))
        return done

    def add(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """Put rows behind those that are there; `answers` are as `predict` gives them, with all labels."""
        assert self._file is not None
        self._file.write(b"".join(_line(self._row(answer)) for answer in answers))
        self._file.flush()

    def _row(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        row = {"file": answer["file"]} | dict.fromkeys(self._answer_fields)
        guesses = answer.get("predictions", [])
        if "error" not in answer:
            if self._answer_fields == ("label", "probabilities"):
                scores = {guess["label"]: guess["score"] for guess in guesses}
                several = self.target.several
                on = [label for label in self.labels if scores[label] >= ON] if several else [guesses[0]["label"]]
                row |= {
                    "label": ";".join(on) or ";",  # a manifest's way to say that none is there
                    "probabilities": {label: scores[label] for label in self.labels},
                }
            elif self._answer_fields == ("value",):
                row["value"] = guesses[0]["score"]
            else:
                row |= {name: answer[name] for name in self._answer_fields}
        return row | {"missing": answer.get("why", {}), "error": answer.get("error")}

    @property
    def _answer_fields(self) -> tuple[str, ...]:
        if self.target.in_time:
            return ("events",)
        if self.target.stepwise:
            return ("predictions",)
        return ("label", "probabilities") if self.target.has_classes else ("value",)

    def _written(self) -> Iterator[dict[str, Any]]:
        with self._rows.open("rb") as file:
            for line in islice(file, 1, None):
                yield json.loads(line)

    def _write_json_lines(self, path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(map(_line, self._written()))

    def _write_csv(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(self._flat, self._written()))

    def _write_parquet(self, path: Path) -> None:
        pa = _pyarrow(path)
        kinds = {n: pa.float64() if n == "value" or n.startswith("p_") else pa.string() for n in self._columns}
        schema, rows = pa.schema(kinds.items()), map(self._flat, self._written())
        with pa.parquet.ParquetWriter(path, schema) as writer:
            while some := list(islice(rows, AT_ONCE)):
                writer.write_table(pa.Table.from_pylist(some, schema=schema))

    @property
    def _columns(self) -> Sequence[str]:
        answer = [name for name in self._answer_fields if name != "probabilities"]
        each = [f"p_{label}" for label in self.labels] if len(answer) < len(self._answer_fields) else []
        return ["file", *answer, *each, "missing", "error"]

    def _flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        flat = {name: row.get(name) for name in self._columns}
        flat |= {f"p_{label}": score for label, score in (row.get("probabilities") or {}).items()}
        flat["missing"] = row["missing"] or None
        return {name: to_json(value) if isinstance(value, dict | list) else value for name, value in flat.items()}


def _line(document: Mapping[str, Any]) -> bytes:
    return (to_json(document) + "\n").encode()


def _whole(line: bytes) -> dict[str, Any] | None:
    """What a line says; None of one that was not written to its end."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _mark(predictor: Predictor) -> str:
    """By which a model is known again: its weights, and how it is run."""
    digest = hashlib.sha256()
    for member in predictor.members:
        with (member.folder / WEIGHTS).open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
        digest.update(to_json(member.model.config.to_dict()).encode())
    return digest.hexdigest()


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(f"{path}: Parquet needs pyarrow: pip install 'locomt[parquet]', or name a .csv file") from None
    return pyarrow
