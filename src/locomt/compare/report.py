"""A comparison as one HTML page that needs no network and no other files."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from locomt.compare import figures
from locomt.compare.apart import apart_lines
from locomt.compare.best_part import below_best_part
from locomt.compare.score_table import cells_of, rows_of, spread
from locomt.train.run_directory import RunDirectory, write_text

Entry = Mapping[str, Any]

CSS = """
:root { color-scheme: light dark; --ink: #1c2026; --soft: #5d6672; --line: #d9dde3; --page: #ffffff; --box: #f5f6f8;
  --mark: #c24f1b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa3af; --line: #343a43; --page: #15181c;
  --box: #1e2227; --mark: #f0854f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; }
p { margin: .4rem 0; max-width: 46rem; }
.lead { font-size: 1.1rem; } .soft, figcaption { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; margin-bottom: 1.6rem; }
table { border-collapse: collapse; width: 100%; margin: .8rem 0; font-size: .9375rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: .875rem; } th:first-child, td:first-child { text-align: left; }
tr.own td { font-weight: 650; } tr.own td:first-child { color: var(--mark); } tr.blind td { color: var(--soft); }
.figures { columns: 24rem 2; column-gap: 2rem; }
figure { margin: 0 0 1.8rem; break-inside: avoid; } figure svg { width: 100%; height: auto; display: block; }
pre { background: var(--box); padding: .9rem 1rem; border-radius: 6px; overflow-x: auto; font-size: .875rem;
  line-height: 1.6; } pre .soft { font-size: inherit; }
"""


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
    sections = [_section(recipe, document) for recipe in document["recipes"]]
    lines = "\n".join(f'<span class="soft"># {escape(what)}</span>\n{escape(line)}' for what, line in commands)
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="lead">{escape(finding.line)}</p>' for finding in below_best_part(document)),
        *(f"<p>{escape(line)}</p>" for line in apart_lines(document)),
        *(f'<p class="lead">{escape(_headline(recipe, document))}</p>' for recipe in document["recipes"]),
        *(f"<p>{escape(paragraph)}</p>" for paragraph in about),
        *sections,
        f"<h2>Go on from here</h2>\n<pre>{lines}</pre>",
        f'<p class="soft">{escape(_small_print(document))}</p>',
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n" + "\n".join(body)
    )
    write_text(path, page + "\n</body>\n</html>\n")
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


def _section(recipe: Entry, document: Entry) -> str:
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
            "Bars: standard deviation over the seeds. Dashed: one answer for all samples.",
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
    boxes = "\n".join(
        f"<figure><h3>{escape(name)}</h3>\n{svg}\n<figcaption>{escape(caption)}</figcaption></figure>"
        for name, svg, caption in drawn
    )
    several = len(document["recipes"]) > 1
    return (
        f"<h2>{escape(recipe['name']) if several else 'Results'}</h2>\n"
        f"{_table(rows, blind, metric)}\n{_tuning(recipe, document)}"
        f'<div class="figures">\n{boxes}\n</div>'
    )


def _table(rows: Sequence[Entry], blind: Entry, metric: str) -> str:
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
    lines = ["".join(f"<th>{escape(name)}</th>" for name in columns)]
    for row in rows:
        name, score, *costs = cells_of(row)
        cells = (name, score, row["seeds"], *costs)
        lines.append("".join(f"<td>{escape(str(cell))}</td>" for cell in cells))
    blanks = "<td></td>" * (len(columns) - 2)
    lines.append(f"<td>without looking: {escape(blind['name'])}</td><td>{spread(blind['value'], None)}</td>{blanks}")
    kinds = ["", *("own" if row["name"] == "locomt" else "" for row in rows), "blind"]
    marked = [f'<tr class="{kind}">{line}</tr>' for kind, line in zip(kinds, lines, strict=True)]
    skipped = "; ".join(
        f"{row['name']} on {row['samples']}, {row['skipped']} being unreadable or without what it looks at"
        for row in rows
        if row["skipped"]
    )
    note = f'<p class="soft">Scored on fewer samples: {escape(skipped)}.</p>\n' if skipped else ""
    return '<div class="scroll"><table>\n' + "\n".join(marked) + "\n</table></div>\n" + note


def _tuning(recipe: Entry, document: Entry) -> str:
    tuned = [entry for entry in document["tuning"] if entry["recipe"] == recipe["name"]]
    if not tuned:
        return ""
    count = len(tuned[0]["points"])
    chosen = "; ".join(
        f"{entry['name']}: {', '.join(f'{name} {value}' for name, value in entry['chosen'].items())}" for entry in tuned
    )
    text = f"Every model was tuned over the same {count} points, by {tuned[0]['metric']}. Chosen: {chosen}."
    return f"<p>{escape(text)}</p>\n"


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
