"""`locomt experiment`: a named study, its results, its figures and its page."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

HELP = "make a named study: results, figures and a page"
EXAMPLE = "locomt experiment layerwise --full --jobs 16 --data ../data"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="baselines, tradeoff, layerwise, modalities, lengths, tasks or search"
    )
    parser.add_argument("--full", action="store_true", help="at full size; the small form takes minutes on two cores")
    parser.add_argument("--data", metavar="DIR", type=Path, help="real data, for the data sets that need them")
    parser.add_argument(
        "--data-sets", "--tasks", metavar="A,B", help="data sets to look at, instead of the study's own"
    )
    parser.add_argument("--seeds", metavar="N", type=int, help="runs of everything (5 in full, 2 in small)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="runs done at a time (1)")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="CPU threads of each run (1)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="data, runs and results (experiments/NAME); goes on there"
    )
    parser.add_argument("--pages", metavar="DIR", type=Path, help="a folder of several studies' pages, with an index")
    parser.add_argument("--render", action="store_true", help="only make the page anew, from the results there are")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.compare import check_folder, telling_runner
    from locomt.cli.notes import say_cautions
    from locomt.cli.output import print_json
    from locomt.lock import locked
    from locomt.studies import Plan, load_study, read_results, render
    from locomt.studies.index import write_index
    from locomt.studies.page import left_out

    study = load_study(args.name)
    out = args.out or Path("experiments") / args.name
    check_folder(out)
    if args.data is not None and not args.data.is_dir():
        raise NotADirectoryError(f"--data: expected a folder, there is none at {args.data}")
    if args.render:
        document = read_results(out / "results.json", args.name)
    else:
        with locked(out, "data", "runs", "searches"):
            plan = Plan(
                out=out,
                full=args.full,
                data=args.data,
                seeds=args.seeds,
                data_sets=tuple(args.data_sets.split(",")) if args.data_sets else (),
                overrides=overrides,
                command=_command(args, overrides),
                runner=telling_runner(args.jobs, args.threads),
            )
            document = study.run(plan)
    say_cautions(document.get("cautions", ()))  # which older results do not have
    page = render(args.name, document, args.pages or out)
    if args.pages:
        write_index(args.pages)
    if args.json:
        print_json(document)
    else:
        print(f"page: {page}\nresults: {out / 'results.json'}")
        if told := left_out(document):
            print(told)
    return 0


def _command(args: argparse.Namespace, overrides: list[str]) -> str:
    """The command line that makes the same results; where they go and how many runs at a time is no part of it."""
    words = ["locomt", "experiment", args.name]
    words += ["--full"] if args.full else []
    words += ["--data", "DATA"] if args.data else []
    for name in ("data-sets", "seeds"):
        if value := getattr(args, name.replace("-", "_")):
            words += [f"--{name}", str(value)]
    return shlex.join([*words, *overrides])
