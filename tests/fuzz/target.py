"""What a kind of input is to the harness: files that are right, what reads them, and what each reading must keep to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzz.formats import Case, damage_case
from locomt.cli.main import main
from locomt.data import BadSample, DataConfig, FileDataset, ManifestDataset, Sample, collate


class FaultError(Exception):
    """Something that must not be, though nothing crashed."""


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        name: of the kind.
        make: writes a folder of right files for each of several seeds into a folder.
        read: reads a folder as the product does. It may say why a sample is bad, and raise what `locomt` words as one
            line: `ValueError` and `OSError`. All else that it raises is a fault.
        whole: ends of the names of those files that are never damaged.
        mend: makes what was damaged consistent again, so that it reaches what comes after the checksums.
        named: whether each refusal must name a file or a field.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], str | None]
    whole: tuple[str, ...] = ()
    mend: Callable[[Random, Case], Case] | None = None
    named: bool = True

    def damaged(self, rng: Random, case: Case) -> Case:
        """A new input out of a right one."""
        case = damage_case(rng, case, self.whole)
        return self.mend(rng, case) if self.mend is not None and rng.random() < 0.8 else case


def one_in(share: int, folder: Path) -> bool:
    """Whether an input is among one in so many; which ones depends on what they hold alone."""
    content = b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())
    return zlib.crc32(content) % share == 0


def check_items(dataset: ManifestDataset | FileDataset, indices: Iterable[Any], config: DataConfig) -> str | None:
    """Items are samples that a batch can be made of, or bad samples; none raises. Why the last bad one is so."""
    samples, reason = [], None
    for index in indices:
        try:
            item = dataset[index]
        except (ValueError, OSError) as error:
            raise FaultError(f"item {index} raised") from error
        if isinstance(item, BadSample):
            if not (item.reason and item.file):
                raise FaultError(f"a bad sample without a reason: {item}")
            reason = item.reason
            continue
        if not isinstance(item, Sample):
            raise FaultError(f"expected a sample, got {item!r:.80}")
        samples.append(item)
        for name, part in item.inputs.items():
            longest = config.modalities[name].max_steps
            if not (0 < len(part) <= longest and part.isfinite().all()):
                raise FaultError(f"{name} of {list(part.shape)}, finite: {bool(part.isfinite().all())}")
        if item.label is not None and not item.label.isfinite().all():
            raise FaultError(f"label {item.label}")
    if samples:
        try:
            collate(samples, config=config)
        except ValueError as error:
            raise FaultError("samples cannot be collated") from error
    return reason


def command(*argv: str) -> None:
    """Run a command line as a terminal would; what it writes is looked at by the harness."""
    code = main([str(item) for item in argv])
    if code not in (0, 1, 2, 3):
        raise FaultError(f"exit code {code} of {argv[0]}")
