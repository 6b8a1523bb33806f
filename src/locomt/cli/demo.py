"""`locomt demo`: clips made on the spot, LoCoMT and its baselines trained on them, a table and a report."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

HELP = "make clips, train LoCoMT, its baselines and single modalities on them, and write a report; takes minutes"
EXAMPLE = "locomt demo --out demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("demo"), help="where everything goes (demo)")
    parser.add_argument("--seed", metavar="N", type=int, default=17, help="of the clips and of the first runs (17)")
    parser.add_argument("--fast", action="store_true", help="a trial run: seconds, and nothing is learned")
    parser.add_argument("--jobs", metavar="N", type=int, help="runs done at a time (one a core, at most 6)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    if args.seed < 0:
        raise ValueError(f"--seed: expected 0 or more, got {args.seed}")
    jobs = args.jobs if args.jobs is not None else min(6, os.cpu_count() or 1)
    if jobs < 1:
        raise ValueError(f"--jobs: expected 1 or more, got {jobs}")
    from locomt.cli.compare import check_folder, compare_aloud, show
    from locomt.cli.notes import say, say_cautions
    from locomt.cli.output import print_json
    from locomt.compare.report import next_commands, write_report
    from locomt.demo.demo import describe, prepare
    from locomt.lock import locked

    check_folder(args.out)
    with locked(args.out, "runs"):
        comparison = prepare(args.out, seed=args.seed, fast=args.fast)
        say(f"clips: {args.out / 'clips'}")
        document = compare_aloud([comparison], args.out, jobs=jobs, threads=1)
        clip = str(args.out / "clips" / "test-0000.mp4")
        commands = next_commands(document, args.out / "recipe.yaml", args.out, clip, options=["--jobs", str(jobs)])
        report = write_report(
            document,
            args.out / "report.html",
            title="LoCoMT and its baselines on clips made on the spot",
            commands=commands,
            about=describe(args.out, fast=args.fast),
        )
    say_cautions(document["cautions"])
    if args.json:
        print_json(document)
    else:
        show(document)
        print(f"report: {report}\n\nGo on from here:")
        for what, line in commands:
            print(f"  {line}    # {what}")
    return 0
