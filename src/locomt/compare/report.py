"""A comparison as one HTML page that needs no network and no other files."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from locomt.compare.apart import apart_lines
from locomt.compare.best_part import below_best_part
from locomt.compare.score_table import cells_of, rows_of, spread
from locomt.report import figures
from locomt.report.page import Section, facts, figure, render, side_by_side, table
from locomt.report.provenance import data_of, machine, version
from locomt.report.small_sizes import attention_line
from locomt.train.run_directory import RunDirectory, write_text

Entry = Mapping[str, Any]


def write_report(
    document: Entry,
    path: Path,
    *,
    title: str,
    commands: Sequence[tuple[str, str]],
    about: Sequence[str] = (),
) -> Path:
    """Write the page, as a whole or not at all.

    Args:
        document: what `locomt.compare.compare.compare` returned. The training curves are read from its runs.
        path: where to write the page.
        title: the heading of the page.
        commands: (purpose, command line) of what to run next.
        about: paragraphs on the data and the setting.

    Returns:
        `path`.
    """
    page = render(
        title,
        [
            *(models_section(recipe, document) for recipe in document["recipes"]),
            commands_section(commands),
            Section("Where these figures come from", facts(_made(document))),
        ],
        lead=[
            *(finding.line for finding in below_best_part(document)),
            *(_headline(recipe, document) for recipe in document["recipes"]),
        ],
        about=[
            *(f"Caution: {line}." for line in document.get("cautions", ())),  # which older results do not have
            *apart_lines(document),
            *about,
            *_cost_lines(document),
        ],
        small=_small_print(document),
    )
    write_text(path, page)
    return path


def next_commands(
    document: Entry,
    config: Path,
    out: Path,
    file: str = "FILE",
    *,
    others: Sequence[Path] = (),
    options: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """Command lines to run next: (purpose, line). A line can be pasted into a shell.

    Args:
        document: the results of the comparison.
        config: its first recipe.
        out: where the runs and the report are.
        file: a file to predict.
        others: the other recipes.
        options: options of `locomt compare` besides seeds and recipes, which it needs to find the same runs.
        overrides: fields of the recipe that were set on the command line.
    """
    first, row, settings = document["runs"][0], document["models"][0], document["recipes"][0]["settings"]
    epochs = settings["train"]["epochs"]
    changes = {"--train.epochs": str(epochs + max(1, epochs // 2))}
    if not settings["train"]["pretrained"]:  # a pretrained tower has a fixed depth
        changes = {"--model.depth": str(settings["model"]["depth"] + 2), **changes}
    changed = [word for change in changes.items() for word in change]
    kept = _without(overrides, changes)
    seeds = [*row["seed_list"], *(max(row["seed_list"]) + more for more in (1, 2, 3))]
    more = (
        ["--seeds", str(len(seeds))] if seeds == list(range(len(seeds))) else ["--seed-list", ",".join(map(str, seeds))]
    )
    lines: list[tuple[str, Sequence[str | Path]]] = [
        (f"how well {first['name']} does on each class", ["evaluate", first["directory"]]),
        ("labels for files, such as your own", ["predict", first["directory"], file]),
        ("what the models cost, and their time on this machine", ["cost", config, "--measure", *overrides]),
        ("train with other settings", ["train", config, "--run", out / "longer", *kept, *changed]),
        (
            "more seeds; what is done is not done again",
            ["compare", config, *others, "--out", out, *more, *options, *overrides],
        ),
    ]
    return [(what, shlex.join(["locomt", *map(str, words)])) for what, words in lines]


def _without(overrides: Sequence[str], fields: Collection[str]) -> list[str]:
    """The overrides of a command line without these fields: `["--a.b", "1", "--c.d=2"]`."""
    kept: list[str] = []
    words = iter(overrides)
    for word in words:
        field, equals, _ = word.partition("=")
        own = [word] if equals else [word, next(words)]
        kept += [] if field in fields else own
    return kept


def commands_section(commands: Sequence[tuple[str, str]]) -> Section:
    """What to run next, of (purpose, command line)."""
    lines = Markup("\n").join(
        Markup('<span class="soft"># {}</span>\n{}').format(what, line) for what, line in commands
    )
    return Section("Go on from here", Markup("<pre>{}</pre>").format(lines))


def models_section(recipe: Entry, document: Entry) -> Section:
    """The models of a recipe: their table, and what is drawn of them."""
    rows = rows_of(recipe, document)
    runs = [run for run in document["runs"] if run["recipe"] == recipe["name"]]
    (blind,) = (entry for entry in document["baselines"] if entry["recipe"] == recipe["name"])
    metric, model = recipe["metric"], recipe["settings"]["model"]
    tokens = " and ".join(f"{count:,} {name}" for name, count in recipe["tokens"].items())
    held = "holds" if recipe["guarantee"]["holds"] else "does not hold"
    monitored = runs[0]["best_epoch"]["monitor"]
    heads = "heads" if model["heads"] > 1 else "head"
    drawn = [
        (
            f"Test {metric} against cost",
            figures.front(rows, "gflops", "GFLOPs a sample", metric, blind["value"]),
            "Bars: standard deviation over the seeds, shares cut at 0 and 1. Dashed: one answer for all samples.",
        ),
        (
            f"Test {metric} against the cost of attention alone",
            figures.front(rows, "attention_gflops", "attention GFLOPs a sample", metric, blind["value"]),
            "What the view table decides.",
        ),
        (
            "Training",
            figures.curves(_histories(runs, monitored), monitored),
            f"{monitored} after each epoch: mean over the seeds, shaded from the lowest to the highest.",
        ),
        (
            "The view table",
            figures.views(recipe["views"], list(recipe["tokens"]), model["depth"] - model["fusion_layers"] + 1),
            f"Which modalities each of the {model['heads']} {heads} of LoCoMT's fusion layers looks at.",
        ),
        (
            "The guarantee",
            figures.guarantee(recipe["guarantee"]),
            f"Score pairs in all fusion layers for {tokens} tokens. LoCoMT ≤ Selfall < MBT < Multiall {held} here.",
        ),
    ]
    several = len(document["recipes"]) > 1
    body = Markup("{}\n{}\n{}").format(
        _table(rows, blind, metric, document.get("chosen", "locomt")),
        _tuning(recipe, document),
        side_by_side(figure(*entry) for entry in drawn),
    )
    return Section(recipe["name"] if several else "Results", body)


def _table(rows: Sequence[Entry], blind: Entry, metric: str, own: str) -> Markup:
    columns = (
        "model",
        f"test {metric}",
        "seeds",
        "GFLOPs",
        "attention GFLOPs",
        "latency, ms",
        "peak, MiB",
        "parameters",
    )
    lines = [(row["name"], score, row["seeds"], *costs) for row in rows for _, score, *costs in [cells_of(row)]]
    blanks = [""] * (len(columns) - 2)
    lines.append((f"without looking: {blind['name']}", spread(blind["value"], None), *blanks))
    marks = [*("own" if row["name"] == own else "" for row in rows), "blind"]
    skipped = "; ".join(
        f"{row['name']} on {row['samples']}, {row['skipped']} being unreadable or without what it looks at"
        for row in rows
        if row["skipped"]
    )
    note = Markup('<p class="soft">Scored on fewer samples: {}.</p>').format(skipped) if skipped else Markup()
    return table(columns, lines, marks) + note


def _tuning(recipe: Entry, document: Entry) -> Markup:
    tuned = [entry for entry in document["tuning"] if entry["recipe"] == recipe["name"]]
    if not tuned:
        return Markup()
    count = len(tuned[0]["points"])
    chosen = "; ".join(
        f"{entry['name']}: {', '.join(f'{name} {value}' for name, value in entry['chosen'].items())}" for entry in tuned
    )
    text = f"Every model was tuned over the same {count} points, by {tuned[0]['metric']}. Chosen: {chosen}."
    return Markup("<p>{}</p>").format(text)


def _headline(recipe: Entry, document: Entry) -> str:
    """State the main finding in a sentence, whatever it is."""
    rows = {row["name"]: row for row in document["models"] if row["recipe"] == recipe["name"]}
    own, metric = rows.get("locomt"), recipe["metric"]
    where = f"{recipe['name']}: " if len(document["recipes"]) > 1 else ""
    if own is None:
        return f"{where}{len(rows)} models by test {metric}."
    text = f"{where}LoCoMT reaches a test {metric} of {spread(own['mean'], own['std'])}."
    others = [
        f"{_more(rows[name]['attention_gflops'] / own['attention_gflops'])} in {label} "
        f"({spread(rows[name]['mean'], rows[name]['std'])})"
        for name, label in (("selfall", "Selfall"), ("mbt", "MBT"), ("multiall", "Multiall"))
        if name in rows
    ]
    return text + (f" Attention costs {', '.join(others)}." if others else "")


def _more(ratio: float) -> str:
    return f"{abs(ratio - 1):.0%} {'more' if ratio >= 1 else 'less'}"


def _cost_lines(document: Entry) -> list[str]:
    """Of the first LoCoMT: the share is about the same in all of them."""
    own = next((row for row in document["models"] if row["name"] == "locomt"), None)
    return [attention_line(own["gflops"], own["attention_gflops"])] if own else []


def _made(document: Entry) -> dict[str, str]:
    names, rows = [recipe["name"] for recipe in document["recipes"]], document["models"]
    found = {"locomt": version(), "machine": machine()}
    for recipe in document["recipes"]:
        own = next(row for row in rows if row["recipe"] == recipe["name"])
        seeds = ", ".join(map(str, own["seed_list"]))
        where = f" of {recipe['name']}" if len(names) > 1 else ""
        found[f"data{where}"] = data_of(recipe["manifest"])
        found[f"test{where}"] = f"n = {own['samples']:,}, seeds {seeds}"
    return found


def _small_print(document: Entry) -> str:
    device = ", ".join(dict.fromkeys(recipe["device"] for recipe in document["recipes"]))
    return (
        f"FLOPs: {document['convention']}. Latency: median over passes of one sample forward, the models taking turns. "
        f"Peak: memory of a training step of one sample. Runs had {document['threads']} CPU threads each; "
        f"device {device}, torch {document['torch']}."
    )


def _histories(runs: Sequence[Entry], metric: str) -> dict[str, list[list[tuple[float, float]]]]:
    """Model -> for each seed the points (epoch, metric), where the metric is defined."""
    histories: dict[str, list[list[tuple[float, float]]]] = {}
    for run in runs:
        with RunDirectory(Path(run["directory"])).history.open(encoding="utf-8", newline="") as file:
            rows = [(row["epoch"], row.get(metric)) for row in csv.DictReader(file)]
        history = [(float(epoch), float(value)) for epoch, value in rows if value]
        histories.setdefault(run["name"], []).append(history)
    return histories
