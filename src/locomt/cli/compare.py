"""`locomt compare`: LoCoMT, its baselines and single modalities over several seeds, in one table and a report."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locomt.train.runs import Job, Outcome, Runner

HELP = "train or load several models over several seeds; one table: metric with spread, GFLOPs, latency, memory"
EXAMPLE = "locomt compare clips.yaml --models locomt,mbt,audio --seeds 3 --tune train.learning_rate=1e-3,3e-3 --jobs 2"
TAKES_OVERRIDES = True

FEW = 10  # classes that a terminal shows one by one; all are in the JSON document
OF_CLASSES = ("precision", "recall", "f1")  # shown where a task has them, of each and over all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", metavar="CONFIG", nargs="+", type=Path, help="a recipe; several: rows for each")
    parser.add_argument(
        "--models",
        metavar="A,B",
        help="out of locomt, selfall, multiall, mbt and modalities by themselves, such as video or video+audio "
        "(the four); each modality of a fused one is trained alone too",
    )
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", metavar="N", type=int, default=3, help="how many: 0 to N - 1 (3)")
    seeds.add_argument("--seed-list", metavar="S,T", help="the seeds themselves")
    parser.add_argument(
        "--tune",
        metavar="FIELD=V,W",
        action="append",
        default=[],
        help="values to choose from for every model, by the validation split; may be given several times",
    )
    parser.add_argument("--tune-seeds", metavar="N", type=int, default=1, help="seeds to choose by (1)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="runs done at a time (1)")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="CPU threads of each run (1)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("compare"), help="for runs, results and report (compare)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    models = _list(args.models, "--models")
    seeds = _seeds("--seed-list", args.seed_list) or _first("--seeds", args.seeds)
    tune_seeds = _first("--tune-seeds", args.tune_seeds)
    from locomt.cli.notes import say_cautions, say_notes
    from locomt.cli.output import print_json
    from locomt.compare.tuning import parse_grid
    from locomt.lock import locked
    from locomt.train.recipe_file import load_recipe

    check_folder(args.out)
    grid = parse_grid(args.tune)
    recipes = {config: load_recipe(config, overrides) for config in args.configs}

    from locomt.compare.compare import Comparison, all_models, with_parts
    from locomt.compare.report import next_commands, write_report

    comparisons = [
        Comparison(
            name=config.stem,
            recipe=recipe,
            models=with_parts(recipe, models) or all_models(recipe),
            seeds=seeds,
            grid=grid,
            tune_seeds=tune_seeds,
        )
        for config, recipe in recipes.items()
    ]
    with locked(args.out, "runs"):
        manifests = [recipe.data for recipe in recipes.values()]
        document = compare_aloud(
            comparisons, args.out, jobs=args.jobs, threads=args.threads, before=lambda: say_notes(*manifests)
        )
        first, *others = args.configs
        report = write_report(
            document,
            args.out / "report.html",
            title="LoCoMT and its baselines",
            commands=next_commands(
                document, first, args.out, others=others, options=_options(args), overrides=overrides
            ),
        )
    say_cautions(document["cautions"])
    if args.json:
        print_json(document)
    else:
        show(document)
        print(f"report: {report}\nresults: {args.out / 'results.json'}")
    return 0


def _options(args: argparse.Namespace) -> list[str]:
    """Those given that say which runs there are, and how they are done."""
    words = ["--models", args.models] if args.models else []
    words += [word for grid in args.tune for word in ("--tune", grid)]
    for name, usual in (("tune_seeds", 1), ("jobs", 1), ("threads", 1)):
        if (value := getattr(args, name)) != usual:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def compare_aloud(
    comparisons: list[Any], out: Path, *, jobs: int, threads: int, before: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Make comparisons, with their progress on stderr and `results.json` in `out`; `before` as in `telling_runner`."""
    import json

    from locomt.compare.compare import compare
    from locomt.train.run_directory import write_text

    document = compare(comparisons, out / "runs", telling_runner(jobs, threads, before))
    write_text(out / "results.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return document


def telling_runner(jobs: int, threads: int, before: Callable[[], object] = lambda: None) -> Runner:
    """What does runs and says a line of every one, on stderr.

    Args:
        jobs, threads: runs done at a time, and CPU threads of each.
        before: called once, when nothing speaks against the runs any more.
    """
    from locomt.cli.notes import say
    from locomt.train.runs import Runner

    begin = cache(before)
    return Runner(
        at_once=jobs,
        threads=threads,
        on_plan=lambda runs: begin(),
        on_run=lambda job, outcome: say(_done(job, outcome)),
    )


def check_folder(out: Path) -> None:
    """Refuse a file where a folder is wanted, before any work is done."""
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out: expected a folder, but {out} is a file; name another")
    for above in out.parents:
        if above.exists() and not above.is_dir():
            raise NotADirectoryError(f"--out: cannot create this directory, {out}: {above} is a file; name another")


def _done(job: Job, outcome: Outcome) -> str:
    scores = outcome.scores["metrics"] if outcome.scores else {outcome.summary["monitor"]: None}
    name, score = next(iter(scores.items()))
    score = outcome.summary.get(name) if score is None else score
    value = "undefined" if score is None else f"{score:.4f}"
    return f"{job.label}: {name} {value} ({f'{outcome.seconds:.1f} s' if outcome.seconds else 'found done'})"


def show(document: dict[str, Any]) -> None:
    """The table on stdout, one a recipe; before them what is worse than its best part."""
    from locomt.cli.output import print_table
    from locomt.compare.apart import apart_lines
    from locomt.compare.best_part import below_best_part
    from locomt.compare.score_table import cells_of, rows_of, spread

    for finding in below_best_part(document):
        print(finding.line)
    for line in apart_lines(document):
        print(line)
    for recipe in document["recipes"]:
        rows = rows_of(recipe, document)
        (baseline,) = (entry for entry in document["baselines"] if entry["recipe"] == recipe["name"])
        tokens = ", ".join(f"{name} {count}" for name, count in recipe["tokens"].items())
        seeds = rows[0]["seeds"]
        print_table(
            f"{recipe['name']}: test {recipe['metric']} over {seeds} {'seed' if seeds == 1 else 'seeds'}; "
            f"tokens: {tokens}",
            ("model", recipe["metric"], "GFLOPs", "attention GFLOPs", "latency, ms", "peak, MiB", "parameters"),
            [
                *map(cells_of, rows),
                (f"({baseline['name']})", spread(baseline["value"], None), "", "", "", "", ""),
            ],
        )
        if all(row["metrics"].keys() >= set(OF_CLASSES) for row in rows) and 2 < len(recipe["labels"]) <= FEW:
            _show_classes(recipe, rows)
        for row in (row for row in rows if row["skipped"]):
            skipped = f"{row['skipped']} were skipped: unreadable, or without what it looks at"
            print(f"{row['name']}: scored on {row['samples']} samples; {skipped}")
    for tuned in document["tuning"]:
        values = ", ".join(f"{name} {value}" for name, value in tuned["chosen"].items())
        print(f"chosen by {tuned['metric']} for {tuned['recipe']} {tuned['name']}: {values}")
    print(f"FLOPs: {document['convention']}. Latency: one sample forward. Peak: a training step of one sample.")


def _show_classes(recipe: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Precision, recall and F1 of every class, all models side by side."""
    from locomt.cli.output import print_table
    from locomt.compare.score_table import spread

    lines = [
        (label, row["name"], *(spread(scores[label][name]["mean"], scores[label][name]["std"]) for name in OF_CLASSES))
        for label in recipe["labels"]
        for row in rows
        if label in (scores := row["per_class"])
    ]
    macro = [
        ("macro", row["name"], *(spread(of[name]["mean"], of[name]["std"]) for name in OF_CLASSES))
        for row in rows
        if (of := row["metrics"])
    ]
    print_table(f"{recipe['name']}: per class", ("class", "model", *OF_CLASSES), [*lines, *macro])


def _list(text: str | None, option: str) -> tuple[str, ...]:
    if text is None:
        return ()
    items = tuple(item.strip() for item in text.split(","))
    if not all(items):
        raise ValueError(f"{option}: expected names with commas between them, got {text!r}")
    return items


def _seeds(option: str, text: str | None) -> tuple[int, ...]:
    items = _list(text, option)
    if not all(item.isdecimal() for item in items):
        raise ValueError(f"{option}: expected whole numbers with commas between them, got {text!r}")
    return tuple(map(int, items))


def _first(option: str, count: int) -> tuple[int, ...]:
    if count < 1:
        raise ValueError(f"{option}: expected 1 or more, got {count}")
    return tuple(range(count))
