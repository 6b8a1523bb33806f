"""`locomt export`: a run's model as a bundle that answers files without torch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from locomt.data import Batch
    from locomt.train.predictor import Predictor

BATCHES = 8
"""Of the validation split, on which answers are compared."""
FORMATS = ("onnx", "pt2", "aoti")
HELP = "make a bundle of a run's model that answers without torch"
EXAMPLE = "locomt export runs/digits --format onnx --out digits.bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_dir", metavar="RUN", help="the directory of a finished run, a model's folder, or its id on the hub"
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="the bundle; must not be there yet")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="onnx",
        help="onnx, for ONNX Runtime and locomt.runtime; pt2, for torch.export.load; aoti, compiled for this kind of "
        "machine and run by whoever loads it (onnx)",
    )
    parser.add_argument(
        "--budget", metavar="B", help="of an elastic run: the best of its view tables within this budget"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def validation(source: str, predictor: Predictor) -> Iterator[tuple[Batch, Tensor]]:
    """The first batches of a run's validation split, where it is there."""
    from locomt.data.manifest import read_manifest
    from locomt.train.evaluation import Run, answers
    from locomt.train.run_directory import RunDirectory

    data = predictor.data
    if not RunDirectory(Path(source)).holds_run or not Path(data.manifest).is_file():
        return
    if any(row.split == data.val_split for row in read_manifest(data.manifest)):
        run = replace(Run.load(Path(source)), model=predictor.model)
        yield from islice(answers(run, data.val_split, device="cpu"), BATCHES)


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.output import console, print_json, print_table
    from locomt.cli.predict import load
    from locomt.export.write import export

    predictor = load(args.run_dir, args.budget)
    console().print("tracing the model, which takes some minutes for one of many layers", markup=False)
    found = export(predictor, args.out, args.format, validation(args.run_dir, predictor))
    if args.json:
        print_json(
            {
                "bundle": str(found.folder),
                "format": args.format,
                "bytes": found.size,
                "difference": found.difference,
                "samples": found.samples,
                "milliseconds": {n: {"eager": a, args.format: b} for n, (a, b) in found.latencies.items()},
            }
        )
        return 0
    rows = [(n, f"{eager:.2f}", f"{own:.2f}", f"{own / eager:.2f}") for n, (eager, own) in found.latencies.items()]
    print_table("milliseconds of full samples", ("batch", "eager", args.format, "ratio"), rows)
    print(f"logits differ by {found.difference:.1g} of the largest at most; batches of 1, 3 and 8, missing and full")
    if found.samples:
        print(f"{found.samples} clips of the validation split: the same answers")
    print(f"bundle: {found.folder} ({found.size:,} bytes of graph)")
    return 0
