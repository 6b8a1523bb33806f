"""`locomt prepare`: a manifest, or a folder of clips, to shards."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.data import DataConfig
    from locomt.train.recipe import Recipe

HELP = "decode a data set once, into shards that training reads"
EXAMPLE = "locomt prepare clips.yaml --out shards/clips"
TAKES_OVERRIDES = True
DAMAGED = 2  # the exit code where --check finds something; what is wrong is printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        help="a recipe; or a manifest, or a folder with a folder of clips for each class; with --check: shards.json",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="where the shards go; begun ones are finished")
    parser.add_argument("--workers", metavar="N", type=int, default=os.cpu_count(), help="processes (one a core)")
    parser.add_argument("--images", default="jpeg", help="how frames are stored: jpeg, or png, which loses nothing")
    parser.add_argument("--quality", metavar="N", type=int, default=95, help="of JPEG, 1 to 100 (95)")
    parser.add_argument("--sound", default="flac", help="flac of 16 bits, or npy of float32, which loses nothing")
    parser.add_argument(
        "--fps",
        metavar="N",
        type=float,
        help="store N frames a second too, 0 for all, so that other frames and crops can be taken later",
    )
    parser.add_argument("--shard-samples", metavar="N", type=int, default=256, help="samples to a shard (256)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the order within the shards (0)")
    parser.add_argument("--retry", action="store_true", help="read again what could not be read before")
    parser.add_argument("--check", action="store_true", help="compare finished shards with their checksums instead")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    if args.check:
        return check(args)
    if args.out is None:
        raise ValueError("expected --out DIR, the folder for the shards")
    if args.workers < 0:
        raise ValueError(f"--workers: expected 0 or more, got {args.workers}")
    from locomt.cli.notes import say, say_notes
    from locomt.cli.output import print_json, print_table
    from locomt.data.shards.prepare import prepare
    from locomt.data.shards.storage import Storage
    from locomt.files import write_text

    recipe = read_source(args.source, overrides)
    storage = Storage(
        images=args.images,
        quality=args.quality,
        sound=args.sound,
        fps=args.fps,
        samples=args.shard_samples,
        seed=args.seed,
    )
    try:
        report = prepare(
            recipe.data,
            args.out,
            storage,
            workers=args.workers,
            retry=args.retry,
            on_start=lambda: None if args.json else say_notes(recipe.data),
        )
    except (KeyboardInterrupt, SystemExit):
        say("stopped; the same command goes on after the shards that are done")
        raise
    ready = args.out / "recipe.yaml"
    write_text(ready, on_shards(recipe, args.out).to_yaml(args.out))
    if args.json:
        print_json(report)
        return 0
    for title, reasons in (("what could not be read", "reasons"), ("what samples go without", "missing_reasons")):
        found = [(count, reason) for reason, count in report[reasons].items()]
        if found:
            print_table(title, ("samples", "reason"), found[:20])
    for line in summary(report, args.out, recipe.data):
        say(line)
    return 0


def read_source(source: Path, overrides: list[str]) -> Recipe:
    """The recipe; for a manifest or a folder, one with the modalities that its first files show."""
    from locomt.train.recipe_file import load_recipe

    if source.suffix.lower() in (".yaml", ".yml"):
        return load_recipe(source, overrides)
    import tempfile

    import yaml

    from locomt.cli.notes import say
    from locomt.data.guess import guess_modalities

    modalities = guess_modalities(source)
    found = ", ".join(
        f"{name} ({fields['kind']}, from column {fields['column']})" for name, fields in modalities.items()
    )
    say(f"no recipe given; found {found}")
    values: dict[str, Any] = {"data": {"manifest": os.path.abspath(source), "modalities": modalities}}
    if len(modalities) == 1:  # of which no two can look at each other
        values["model"] = {"fusion": "selfall"}
    with tempfile.TemporaryDirectory() as folder:  # so that fields are set and checked as in any recipe
        recipe = Path(folder, f"{source.stem}.yaml")
        recipe.write_text(yaml.safe_dump(values, sort_keys=False))
        return load_recipe(recipe, overrides)


def on_shards(recipe: Recipe, out: Path) -> Recipe:
    """The recipe that trains on the shards what this one would train on the files."""
    from dataclasses import replace

    from locomt.data.shards.index import INDEX

    # What was dealt out to splits is written down in the shards, with all other columns.
    return replace(recipe, data=replace(recipe.data, manifest=os.path.abspath(out / INDEX), split=None))


def summary(report: dict[str, Any], out: Path, data: DataConfig) -> list[str]:
    """What came out, and what to do with it."""
    size = report["bytes"] / 2**20
    lines = [
        f"{report['whole']} of {report['samples']} samples are whole, in {report['shards']} shards, {size:.1f} MiB"
    ]
    if without := len({entry["id"] for entry in report["missing"]}):
        lines.append(f"{without} of them lack a stream or sound, which the recipe takes for a missing modality")
    if bad := report["samples"] - report["whole"]:
        lines.append(f"{bad} could not be read, see {out / 'report.json'}; mend them and use --retry")
        if bad > data.max_bad * report["samples"]:
            lines.append(f"that is more than data.max_bad = {data.max_bad:g} allows a split: training may stop")
    command = ["locomt", "train", str(out / "recipe.yaml"), "--run", f"runs/{out.name}"]
    lines.append(f"train on them with: {shlex.join(command)}")
    return lines


def check(args: argparse.Namespace) -> int:
    """Compare shards with their checksums."""
    from locomt.cli.notes import say
    from locomt.cli.output import print_json
    from locomt.data.shards.check import check_shards
    from locomt.data.shards.index import INDEX

    index = args.source / INDEX if args.source.is_dir() else args.source
    faults = check_shards(index)
    if args.json:
        print_json({"faults": faults})
    for fault in faults:
        say(f"locomt prepare: {fault}")
    if not faults:
        say(f"{index.parent} is as it was written")
    return DAMAGED if faults else 0
