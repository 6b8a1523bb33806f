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
    from locomt.cli.notes import say, say_cautions
    from locomt.cli.output import print_json, print_table
    from locomt.files import write_text
    from locomt.report.answers import Answers
    from locomt.report.run import page_of, page_path
    from locomt.train.evaluation import Run, evaluate
    from locomt.train.run_cautions import of_scores, of_trainings

    trained = Run.load(args.run_dir, overrides)
    if args.budget:
        from locomt.search.elastic_front import set_budget

        set_budget(trained, args.budget)

    def on_bad(sample: BadSample) -> None:
        say(f"skipped row {sample.row}, {sample.file}: {sample.reason}")

    answers = Answers(trained.recipe.data.target)
    result = evaluate(trained, args.split, on_bad=on_bad, on_answers=answers.add)
    split = args.split or trained.recipe.data.test_split
    page = page_of(trained, split, result, answers)
    own = len(trained.members) == 1 and not overrides and not args.budget and "caution" not in result
    if own:  # else the scores are of several models, of other data or of another table
        renew(trained, split, result, answers)
    per_class = result["per_class"]
    say_cautions([*of_scores(result, split), *of_trainings(trained)])
    for name, count in result.get("missing", {}).items():
        say(f"{count} of {result['samples']} samples went without {name}: their files lack it")
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
    from locomt.cli.notes import say
    from locomt.train.bootstrap import intervals
    from locomt.train.model_card import record

    rows = answers.rows
    try:
        record(run, split, scores, intervals(run.recipe.data.target, run.labels, rows.logits, rows.labels))
    except OSError as error:  # of a run that others keep
        say(f"the model's card stays as it is: {error.filename or run.path}: {error.strerror}")


def _cell(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
