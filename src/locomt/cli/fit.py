"""`locomt fit`: labelled clips to a trained, scored and reported model, without a recipe."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

HELP = "labelled clips to a trained, scored and reported model, without a recipe"
EXAMPLE = "locomt fit clips/ --minutes 5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        help="a folder of files for each class, a table (CSV, JSON lines, Parquet) with a column label, or a folder "
        "with metadata.csv",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="for all that is made (runs/<name of the source>)")
    parser.add_argument(
        "--minutes",
        metavar="M",
        type=float,
        help="that training may take; of the preset where left out: 3, 10 or 30, on a GPU 10, 30 or 90",
    )
    parser.add_argument(
        "--preset",
        choices=("quick", "good", "best"),
        default="good",
        help="quick: each model once; good: the fused one also from its parts; best: views are searched, and three "
        "seeds answer by their mean (good)",
    )
    parser.add_argument("--task", metavar="TASK", help="such as ordinal; told from the labels where left out")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of splits and training (0)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    from locomt.cli.compare import check_folder, telling_runner
    from locomt.cli.notes import say, say_cautions
    from locomt.cli.output import print_json, print_table
    from locomt.compare.score_table import spread
    from locomt.quick.quick_fit import Told, fit, why

    if args.out:
        check_folder(args.out)

    fitted = fit(
        args.source,
        args.out,
        minutes=args.minutes,
        preset=args.preset,
        task=args.task,
        seed=args.seed,
        told=Told(
            say=say,
            caution=say_cautions,
            runner=lambda threads: telling_runner(1, threads),
            workers=os.cpu_count() or 0,
        ),
    )
    results = fitted.results
    say_cautions(results["cautions"])
    if args.json:
        print_json(results)
        return 0
    names = {"late average": "mean of the modalities' answers"}
    rows = [
        (name, spread(score["val"], None), spread(score["test"], None)) for name, score in results["scores"].items()
    ]
    if (seeds := results["kept"]["seeds"]) > 1:
        rows.append((f"kept: {results['chosen']}, mean of {seeds}", "", spread(results["kept"]["test"], None)))
    rows += [(names[row["name"]], "", spread(row["mean"], None)) for row in results["averages"]]
    rows += [(f"({entry['name']})", "", spread(entry["value"], None)) for entry in results["baselines"][:1]]
    samples = results["models"][0]["samples"]
    print_table(
        f"{fitted.path}: {samples} test samples", ("model", results["judge"], f"test {results['metric']}"), rows
    )
    print(why(results))
    print(f"model: {fitted.path / results['run']}\nreport: {fitted.report()}\nrecipe: {fitted.path / 'recipe.yaml'}")
    print(f"labels for other files: locomt predict {fitted.path / results['run']} FILE")
    return 0
