"""`locomt train`: a recipe to a run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HELP = "train a recipe; can be stopped and resumed"
EXAMPLE = "locomt train recipes/digits.yaml --run runs/first --train.epochs 5"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=Path, help="a recipe, such as recipes/digits.yaml")
    parser.add_argument(
        "--run",
        "--out",  # torchrun takes `--run` for the beginning of an option of its own
        metavar="DIR",
        type=Path,
        help="where the run goes (runs/<name of the recipe>)",
    )
    parser.add_argument("--resume", action="store_true", help="go on where that run was stopped")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt import ranks
    from locomt.cli import notes
    from locomt.cli.main import DIVERGED
    from locomt.cli.notes import say_notes
    from locomt.cli.output import print_json, print_table
    from locomt.data.overview import manifest_cautions
    from locomt.train.below_its_part import PAGE, of_run
    from locomt.train.recipe_file import load_recipe
    from locomt.train.run_cautions import of_training
    from locomt.train.run_directory import RunDirectory

    first = ranks.is_first()  # of the processes of `train.devices`, each of which comes by here; it speaks for all

    def say(text: str) -> None:
        if first:
            notes.say(text)

    if args.config.is_dir():
        raise ValueError(
            f"expected a recipe, got the folder {args.config}; use: locomt fit {shlex.quote(str(args.config))}"
        )
    recipe = load_recipe(args.config, overrides)
    directory = RunDirectory(args.run or Path("runs") / args.config.stem)
    was_finished = args.resume and directory.finished
    if args.resume and not directory.holds_run:
        say(f"{directory.path} holds no run: beginning one")
    if first and not (args.resume and directory.holds_run):
        directory.check_free()  # before anything that takes long

    from locomt.train.fitting import fit

    epochs = recipe.train.epochs
    try:
        summary = fit(
            recipe,
            directory.path,
            resume=args.resume,
            on_start=lambda: say_notes(recipe.data) if first else None,
            on_epoch=lambda row: say(describe(row, epochs, recipe.monitor)),
            on_refit=lambda row, count: say(f"refit, {describe(row, count, recipe.monitor)}"),
        )
    except (KeyboardInterrupt, SystemExit):
        say("stopped; the same command with --resume goes on after the last checkpoint")
        raise
    code = DIVERGED if "diverged" in summary else 0
    if not first:
        return code
    if was_finished:
        say(f"{directory.path} has finished: nothing to resume")
    if summary["skipped"]:
        say(f"{summary['skipped']} samples could not be read and were skipped, see {directory.bad_samples}")
    for name, count in summary.get("missing", {}).items():
        say(f"{count} {'sample' if count == 1 else 'samples'} went without {name}: their files lack it")
    if "stopped" in summary:
        patience = "an epoch was" if recipe.train.patience == 1 else f"{recipe.train.patience} epochs were"
        say(f"stopped after epoch {summary['stopped']} of {epochs}: {patience} no better than epoch {summary['epoch']}")
    if "refit" in summary:
        say(
            f"the model was trained once more, on {recipe.data.train_split} and {recipe.data.val_split} together, for "
            f"{summary['refit']} epochs; the scores are those of the training before. On the test split it is scored "
            f"by: locomt evaluate {shlex.quote(str(directory.path))}"
        )
    if summary["monitor"] != f"val_{recipe.monitor}":
        say(f"val_{recipe.monitor} was undefined in every epoch: the epoch with the lowest val_loss was taken")
    found = [*manifest_cautions(recipe.data), *of_training(directory)]
    notes.say_cautions(found)
    if summary.get("apart"):
        say(f"the answer is to each modality apart: to look across them tells nothing more, see {PAGE}")
    # Scores are gathered from all processes of a run, of which this one alone is still here.
    # Of a refitted run nothing on the validation split is worth a page.
    page = None if code or was_finished or ranks.in_use() or "refit" in summary else _write_page(directory.path)
    line = of_run(summary, recipe)
    if args.json:
        known = {"below": line, "cautions": found}
        print_json({name: value for name, value in known.items() if value} | {"run": str(directory.path), **summary})
    else:
        if line:
            print(line)
        print_table(str(directory.path), *tabulate(summary))
        if page:
            print(f"report: {page}")
    return code


def _write_page(folder: Path) -> Path | None:
    """The page of a run on the split that chose its epoch; None where that has no samples."""
    from locomt.data.dealing import read_rows
    from locomt.report.run import write_report
    from locomt.train.evaluation import Run

    run = Run.load(folder)
    data = run.recipe.data
    if all(row.split != data.val_split for row in read_rows(data)):
        return None
    return write_report(run, split=data.val_split)


def describe(row: Mapping[str, float | None], epochs: int, monitor: str) -> str:
    """An epoch's row as one line; of each modality alone the losses and the monitored metric, in brackets."""
    numbers = []
    for name, value in row.items():
        if name.startswith(("train_", "val_")) and "/" not in name:
            numbers.append(f"{name} {_number(value)}")
            found = {n.removeprefix(f"{name}/"): v for n, v in row.items() if n.startswith(f"{name}/")}
            alone = {part: v for part, v in found.items() if v is not None}
            if alone and name in ("train_loss", "val_loss", f"val_{monitor}"):
                numbers[-1] += f" ({', '.join(f'{part} {_number(v)}' for part, v in alone.items())})"
    return f"epoch {row['epoch']}/{epochs}  {'  '.join(numbers)}  ({row['seconds']:.1f} s)"


def tabulate(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The best epoch's row as a table, a column for each modality alone: the heads of its columns, and its rows."""
    left_out = ("learning_rate", "step", "seconds", "diverged", "missing", "apart", "stopped", "refit")
    cells = {tuple(name.split("/", 1)): _number(value) for name, value in summary.items() if name not in left_out}
    parts = dict.fromkeys(part for _, *rest in cells for part in rest)
    rows = [
        [kind, cells.get((kind,), ""), *(cells.get((kind, part), "") for part in parts)]
        for kind in dict.fromkeys(kind for kind, *_ in cells)
    ]
    return ["best epoch", "", *parts], rows


def _number(value: Any) -> str:
    if value is None:
        return "undefined"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
