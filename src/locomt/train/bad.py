"""The policy for samples that cannot be read: named, counted, skipped, and too many of them stop the run.

Those that go without a modality which their files lack are used, and counted too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from locomt import ranks
from locomt.data import BadSample
from locomt.files import to_json
from locomt.train.run_directory import write_text

FIELDS = ("id", "row", "file", "reason")


def is_log(value: Mapping[str, Any]) -> bool:
    """Whether a checkpoint has what `BadSampleLog` keeps in it: `bad`, and `missing` unless it is an older one."""
    bad, missing = value.get("bad"), value.get("missing", {})
    return (
        isinstance(bad, list)
        and all(isinstance(line, dict) and {"split", *FIELDS} <= line.keys() for line in bad)
        and isinstance(missing, dict)
        and all(isinstance(places, list) for places in missing.values())
        and all(isinstance(place, list) and len(place) == 2 for places in missing.values() for place in places)
    )


class TooManyBadSamplesError(ValueError):
    """More of a split than `data.max_bad` allows could not be read."""


class BadSampleLog:
    """Counts every bad sample once, however many epochs meet it; likewise those that go without a modality.

    Args:
        sizes: samples of each split.
        max_bad: fraction of a split that may be bad.
        path: a JSON-lines file that holds a line for every bad sample: split, id, row, file, reason.
    """

    def __init__(self, sizes: Mapping[str, int], max_bad: float, path: Path | None = None) -> None:
        self.sizes, self.max_bad, self.path = dict(sizes), max_bad, path
        self.found: dict[tuple[str, int], BadSample] = {}
        self.met: set[tuple[str, int]] = set()
        self.without: dict[str, set[tuple[str, str]]] = {}

    def begin(
        self, lines: Iterable[Mapping[str, Any]] = (), lacking: Mapping[str, Iterable[Sequence[str]]] | None = None
    ) -> None:
        """Begin anew, or with what `lines` and `lacking` gave when a run was stopped.

        Those stay in the count, as if it had never been stopped: they were skipped, and an epoch need not meet all of
        them again. They count towards the limit once they are met again, since they may have been mended.
        """
        self.found = {(line["split"], line["row"]): BadSample(*(line[name] for name in FIELDS)) for line in lines}
        self.met = set()
        self.without = {name: {(split, id) for split, id in places} for name, places in (lacking or {}).items()}
        self._write()

    def lines(self) -> list[dict[str, Any]]:
        """Plain values: a mapping for every sample, as the file has it."""
        return [
            {"split": split, **{name: getattr(sample, name) for name in FIELDS}}
            for (split, _), sample in self.found.items()
        ]

    def lacking(self) -> dict[str, list[list[str]]]:
        """Plain values: modality -> split and id of the samples that went without it, in their order."""
        return {name: [list(place) for place in sorted(places)] for name, places in sorted(self.without.items())}

    @property
    def missing(self) -> dict[str, int]:
        """Modality -> how many samples went without it so far."""
        return {name: len(places) for name, places in sorted(self.without.items())}

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

    def lack(self, split: str, missing: Mapping[str, Iterable[str]]) -> None:
        """Take in which samples of a batch went without a modality, as `Batch.missing` has it."""
        for name, ids in missing.items():
            self.without.setdefault(name, set()).update((split, id) for id in ids)

    def share(self) -> None:
        """Take in what the other processes found, each of which has to call it.

        Raises:
            TooManyBadSamplesError: as `add`, of all processes together.
        """
        for found in ranks.gather({place: self.found[place] for place in self.met}):
            self._keep({place: sample for place, sample in found.items() if place not in self.met})
            self.met |= found.keys()
        for without in ranks.gather(self.without):
            for name, places in without.items():
                self.without.setdefault(name, set()).update(places)
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
