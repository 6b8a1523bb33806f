"""`locomt push`: a run's model to the Hugging Face hub."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

HELP = "put a run's model on the Hugging Face hub, with its card and all that it takes to predict"
EXAMPLE = "locomt push runs/digits owner/digits --private --license mit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="the directory of a finished run")
    parser.add_argument("repo", metavar="OWNER/NAME", help="the model's id on the hub; made where it is new")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--license", metavar="L", help="as the hub names them, such as mit or cc-by-4.0 (the one given before, or none)"
    )
    parser.add_argument("--dry-run", action="store_true", help="renew the card and say what would go up; send nothing")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.output import console, hub_bars, print_json, print_table
    from locomt.train.evaluation import Run
    from locomt.train.upload import prepare, push

    def say(text: str) -> None:
        console().print(text, markup=False, highlight=False, soft_wrap=True)

    upload = prepare(Run.load(args.run_dir), args.repo, args.license)
    if not args.json:
        rows = [(name, f"{size:,}") for name, size in upload.files.items()]
        print_table(f"{upload.folder} to {args.repo}", ("file", "bytes"), [*rows, ("all", _total(upload.files))])
    if upload.left:
        say(f"stays here: {', '.join(upload.left)}")
    with hub_bars():
        url = None if args.dry_run else push(upload, private=args.private)
    if args.json:
        print_json({"repo": args.repo, "files": dict(upload.files), "left": list(upload.left), "url": url})
    elif url:
        print(f"model: {url}")
    else:
        print(f"nothing was sent; its card is {upload.folder / 'README.md'}")
    return 0


def _total(files: Mapping[str, int]) -> str:
    return f"{sum(files.values()):,}"
