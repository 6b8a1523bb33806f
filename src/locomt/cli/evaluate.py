"""`locomt evaluate`: a run's metrics on a split."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.data import BadSample
    from locomt.report.answers import Answers
    from locomt.train.evaluation import Run

HELP = "score a run on a split, per class too"
EXAMPLE = "locomt evaluate runs/digits --split test"
TAKES_OVERRIDES = True

FEW = 10  # classes without positives that are named; --json has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="the directory of a finished run")
    parser.add_argument("--split", help="as the manifest names it (the recipe's data.test_split)")
    parser.add_argument(
        "--budget",
        metavar="B",
        help="of an elastic run: the best of its view tables within this budget, as `locomt search` takes it",
    )
    parser.add_argument(
        "--report", metavar="FILE", type=Path, help="the page to write (report-SPLIT.html in the run's directory)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from rich.progress import Progress

    from locomt.cli.output import console, print_json, print_table
    from locomt.files import write_text
    from locomt.report.answers import Answers
    from locomt.report.run import page_of, page_path
    from locomt.train.evaluation import Run, evaluate

    trained = Run.load(args.run_dir, overrides)
    if args.budget:
        from locomt.search.elastic_front import set_budget

        set_budget(trained, args.budget)
    with Progress(console=console(), disable=not console().is_terminal, transient=True) as bar:
        task = bar.add_task("evaluating", total=None)

        def on_step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        def on_bad(sample: BadSample) -> None:
            text = f"skipped row {sample.row}, {sample.file}: {sample.reason}"
            bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

        answers = Answers(trained.recipe.data.target)
        result = evaluate(trained, args.split, on_step=on_step, on_bad=on_bad, on_answers=answers.add)
    split = args.split or trained.recipe.data.test_split
    page = page_of(trained, split, result, answers)
    if not overrides and not args.budget and "caution" not in result:  # else they are of other data, or another table
        renew(trained, split, result, answers)
    per_class = result["per_class"]
    if lacking := [label for label, values in per_class.items() if values.get("positives") == 0]:
        named = ", ".join(lacking[:FEW]) + (f" and {len(lacking) - FEW} more" if len(lacking) > FEW else "")
        console().print(
            f"{len(lacking)} of {len(per_class)} classes have no positive sample and are in none of the means: {named}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for name, count in result.get("missing", {}).items():
        line = f"{count} of {result['samples']} samples went without {name}: their files lack it"
        console().print(line, markup=False, highlight=False, soft_wrap=True)
    if "caution" in result:
        console().print(f"caution: {result['caution']}", markup=False, highlight=False, soft_wrap=True)
    path = args.report or page_path(args.run_dir, split)
    write_text(path, page)
    if args.json:
        print_json(result)
        return 0
    counts = {"samples": result["samples"], "skipped": result["skipped"]}
    print_table(
        f"{args.run_dir}, split {split}",
        ("metric", "value"),
        [(name, _cell(value)) for name, value in (result["metrics"] | counts).items()],
    )
    if per_class:
        names = list(next(iter(per_class.values())))
        rows = [(label, *(_cell(values[name]) for name in names)) for label, values in per_class.items()]
        print_table("per class", ("label", *names), rows)
    print(f"report: {path}")
    return 0


def renew(run: Run, split: str, scores: Mapping[str, Any], answers: Answers) -> None:
    """Put the scores into the model's card."""
    from locomt.cli.output import console
    from locomt.train.bootstrap import intervals
    from locomt.train.model_card import record

    rows = answers.rows
    try:
        record(run, split, scores, intervals(run.recipe.data.target, run.labels, rows.logits, rows.labels))
    except OSError as error:  # of a run that others keep
        reason = f"the model's card stays as it is: {error.filename or run.path}: {error.strerror}"
        console().print(reason, markup=False, highlight=False, soft_wrap=True)


def _cell(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
