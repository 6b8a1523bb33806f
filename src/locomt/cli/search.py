"""`locomt search`: which head should look where, under a budget of attention FLOPs or of time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "find a view table under a budget of FLOPs or time: the Pareto front, and the chosen table as a recipe"
EXAMPLE = "locomt search clips.yaml --budget 0.5 --method random --tables 12 --seeds 3 --jobs 2"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?", type=Path, help="a recipe; with --from it may be left out"
    )
    parser.add_argument(
        "--budget",
        metavar="B",
        required=True,
        help="0.5: a share of Multiall's attention FLOPs in the fusion layers; 12gflops: a number of them; 3.5ms: time "
        "that they take on this device, which is measured",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        default="strategies",
        help="strategies (hand-made; the default), random, mass (what a dense model looks at), elastic (one model "
        "trained for all tables), learned (by gradients, in one run), evolutionary, bayesian",
    )
    parser.add_argument(
        "--tables",
        metavar="N",
        type=int,
        help="how many tables to try: random, evolutionary, bayesian (8); elastic (300)",
    )
    parser.add_argument(
        "--seeds", metavar="N", type=int, help="runs of every table, or models to find tables with: mass, learned (1)"
    )
    parser.add_argument(
        "--final",
        metavar="RUNS",
        type=int,
        help="training runs for a choice among the best tables found, by more and more seeds (none)",
    )
    parser.add_argument(
        "--one-way",
        action="store_true",
        default=None,
        help="let heads look one way too, which the paper does not: all but strategies, elastic",
    )
    parser.add_argument(
        "--from",
        metavar="RUN",
        dest="source",
        type=Path,
        help="a finished run to begin with: of Multiall, to convert (mass) or to train on (elastic), or an elastic one "
        "(elastic)",
    )
    parser.add_argument(
        "--epochs", metavar="N", type=int, help="of training the elastic model (7/3 of the recipe's): elastic"
    )
    parser.add_argument(
        "--finetune",
        metavar="SHARE",
        type=float,
        help="training of what was found, as a share of the recipe's (0.05): mass; elastic, learned: in the chosen "
        "recipe",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="an Optuna storage that several machines may share (a file in --out): evolutionary, bayesian",
    )
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="runs done at a time (1)")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="CPU threads of each run (1)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="for runs and results (search/<name of the recipe>); goes on there"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.compare import check_folder, telling_runner
    from locomt.cli.notes import say_cautions, say_notes
    from locomt.cli.output import print_json
    from locomt.search.budget import Budget
    from locomt.search.starting_run import recipe_of
    from locomt.train.recipe_file import load_recipe

    if args.config is None and args.source is None:
        raise ValueError(
            "expected a recipe, or a finished run to begin with (--from RUN, for the methods mass and elastic)"
        )
    out = args.out or Path("search") / (args.config or args.source).stem
    check_folder(out)
    budget = Budget.parse(args.budget)
    recipe = load_recipe(args.config, overrides) if args.config else recipe_of(args.source, overrides)

    from locomt.search.ledger import RESULTS
    from locomt.search.question import Question
    from locomt.search.search import ANEW, CHOSEN, REPORT, search

    names = ("tables", "seeds", "one_way", "epochs", "finetune", "source", "storage", "final")
    options = {name: getattr(args, name) for name in names}
    question = Question(recipe=recipe, budget=budget, method=args.method, **options)
    document = search(question, out, telling_runner(args.jobs, args.threads, lambda: say_notes(recipe.data)))
    say_cautions(document["cautions"])
    if args.json:
        print_json(document)
    else:
        _show(document)
        print(f"chosen recipe: {out / CHOSEN}\nto train it anew: {out / ANEW}")
        print(f"report: {out / REPORT}\nresults: {out / RESULTS}")
    return 0


def _show(document: dict[str, Any]) -> None:
    from locomt.cli.output import print_table

    budget, chosen, times = document["budget"], document["chosen"], document.get("times")
    limit = f"{budget['ms']:.4g} ms" if times else f"{budget['gflops']:.4g} GFLOPs"
    print_table(
        f"{document['metric']} within {limit}, {budget['share']:.1%} of Multiall's",
        (
            *("table", document["metric"], "seeds", "attention GFLOPs", "of Multiall's"),
            *(["attention ms"] if times else []),
            *("front", "chosen"),
        ),
        [
            (
                ", ".join(entry["names"]),
                f"{entry['mean']:.4f}",
                len(entry["seeds"]),
                f"{entry['gflops']:.4g}",
                f"{entry['share']:.1%}",
                *([f"{entry['ms']:.4g}"] if times else []),
                "yes" if entry in document["front"] else "",
                "yes" if entry == chosen else "",
            )
            for entry in document["tables"]
        ],
    )
    print(f"chosen by {document['metric']}: {', '.join(chosen['names'])}\n{chosen['views']}")
    print(f"cost of this search: {document['training_runs']:.4g} training runs")
    print(f"FLOPs: attention of the fusion layers; {document['convention']}.")
    if times:
        _show_times(chosen["ms"], document["multiall_ms"], times)


def _show_times(estimate: float, dense: float, times: dict[str, Any]) -> None:
    print(f"ms: the sum over heads of their views' times on {times['device']}; forward, one sample.")
    if measured := times["chosen"]:
        print(
            f"chosen table: {estimate:.4g} ms by that sum, {estimate / dense:.1%} of Multiall's; measured in one go: "
            f"{measured['ms']:.4g} ms, Multiall {measured['multiall_ms']:.4g} ms, "
            f"{measured['ms'] / measured['multiall_ms']:.1%} of it"
        )
    else:
        print(
            f"chosen table: {estimate:.4g} ms by that sum; not measured, since device, torch or threads are others here"
        )
