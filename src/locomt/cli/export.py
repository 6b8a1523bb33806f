"""`locomt export`: a run's model as a bundle that answers files without torch."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("onnx", "pt2")
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
        help="onnx, for ONNX Runtime and locomt.runtime; or pt2, for torch.export.load (onnx)",
    )
    parser.add_argument(
        "--budget", metavar="B", help="of an elastic run: the best of its view tables within this budget"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.output import console, print_json, print_table
    from locomt.cli.predict import load
    from locomt.export.write import export

    predictor = load(args.run_dir, args.budget)
    console().print("tracing the model, which takes some minutes for one of many layers", markup=False)
    found = export(predictor, args.out, args.format)
    if args.json:
        print_json(
            {
                "bundle": str(found.folder),
                "format": args.format,
                "bytes": found.size,
                "difference": found.difference,
                "milliseconds": {n: {"eager": a, args.format: b} for n, (a, b) in found.latencies.items()},
            }
        )
        return 0
    rows = [(n, f"{eager:.2f}", f"{own:.2f}", f"{own / eager:.2f}") for n, (eager, own) in found.latencies.items()]
    print_table("milliseconds of full samples", ("batch", "eager", args.format, "ratio"), rows)
    print(f"logits differ by {found.difference:.1g} of the largest at most; batches of 1, 3 and 8, missing and full")
    print(f"bundle: {found.folder} ({found.size:,} bytes of graph)")
    return 0
