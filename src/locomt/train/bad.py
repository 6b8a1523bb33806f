"""The policy for samples that cannot be read: named, counted, skipped, and too many of them stop the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from locomt.data import BadSample
from locomt.data.json_text import to_json
from locomt.train import ranks
from locomt.train.files import write_text

FIELDS = ("id", "row", "file", "reason")


class TooManyBadSamplesError(ValueError):
    """More of a split than `data.max_bad` allows could not be read."""


class BadSampleLog:
    """Counts every bad sample once, however many epochs meet it.

    Args:
        sizes: samples of each split.
        max_bad: fraction of a split that may be bad.
        path: a JSON-lines file that holds a line for every bad sample: split, id, row, file, reason.
    """

    def __init__(self, sizes: Mapping[str, int], max_bad: float, path: Path | None = None) -> None:
        self.sizes, self.max_bad, self.path = dict(sizes), max_bad, path
        self.found: dict[tuple[str, int], BadSample] = {}
        self.met: set[tuple[str, int]] = set()

    def begin(self, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        """Begin anew, or with what `lines` gave when a run was stopped.

        Those stay in the count, as if it had never been stopped: they were skipped, and an epoch need not meet all of
        them again. They count towards the limit once they are met again, since they may have been mended.
        """
        self.found = {(line["split"], line["row"]): BadSample(*(line[name] for name in FIELDS)) for line in lines}
        self.met = set()
        self._write()

    def lines(self) -> list[dict[str, Any]]:
        """Plain values: a mapping for every sample, as the file has it."""
        return [
            {"split": split, **{name: getattr(sample, name) for name in FIELDS}}
            for (split, _), sample in self.found.items()
        ]

    @property
    def total(self) -> int:
        """How many samples were found to be bad so far."""
        return len(self.found)

    def add(self, split: str, bad: Iterable[BadSample]) -> None:
        """Take in what a batch reports.

        One of several processes leaves it to `share` to object: all have to stop at the same place, since the others
        would wait for it.

        Raises:
            TooManyBadSamplesError: the split's limit is passed; names the first few and what to do.
        """
        fresh = {(split, sample.row): sample for sample in bad if (split, sample.row) not in self.met}
        if not fresh:
            return
        self.met |= fresh.keys()
        self._keep(fresh)
        if not ranks.in_use():
            self._check(split)

    def share(self) -> None:
        """Take in what the other processes found, each of which has to call it.

        Raises:
            TooManyBadSamplesError: as `add`, of all processes together.
        """
        for found in ranks.gather({place: self.found[place] for place in self.met}):
            self._keep({place: sample for place, sample in found.items() if place not in self.met})
            self.met |= found.keys()
        for split in dict.fromkeys(split for split, _ in self.found):
            self._check(split)

    def _keep(self, samples: Mapping[tuple[str, int], BadSample]) -> None:
        found = {**self.found, **samples}
        if found != self.found:
            self.found = found
            self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        if self.found:
            write_text(self.path, "".join(to_json(line) + "\n" for line in self.lines()))
        else:
            self.path.unlink(missing_ok=True)

    def _check(self, split: str) -> None:
        here = [sample for place, sample in self.found.items() if place in self.met and place[0] == split]
        if len(here) / self.sizes[split] > self.max_bad:  # not by a product: 0.29 * 100 is less than 29
            first = "; ".join(f"row {sample.row}, {sample.file}: {sample.reason}" for sample in here[:3])
            raise TooManyBadSamplesError(
                f"{len(here)} of the {self.sizes[split]} samples of split {split!r} could not be read so far, more "
                f"than data.max_bad = {self.max_bad:g} allows; mend them or raise the limit. The first: {first}"
            )
