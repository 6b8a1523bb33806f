"""A study's page in Markdown. It is made from the results alone: every claim is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from locomt.studies.numbers import Difference, Mean, difference, false_discovery_rates, mean_of
from locomt.tasks import TASKS

Document = Mapping[str, Any]
FEWEST = 5
"""The fewest paired seeds that support a verdict. A full study has as many."""
FURTHER = ("event_f1",)
"""Metrics that are shown beside a task's own, if its runs have them."""


def left_out(document: Document) -> str:
    """Say which tasks were left out and why. Empty if none was."""
    names = document.get("left_out", [])
    return f"Left out, for want of real data (--data DIR): {', '.join(names)}." if names else ""


def head(document: Document, title: str, question: str) -> list[str]:
    """Begin a page: title, question, and the command, date, versions and size of the study."""
    size = "full" if document["full"] else "small form: it shows that everything works, and supports no conclusion"
    unfinished = [] if document.get("complete", True) else ["", "**Unfinished:** some runs are missing."]
    fewer = ["", told] if (told := left_out(document)) else []
    return [
        f"# {title}",
        "",
        question,
        "",
        "```bash",
        document["command"],
        "```",
        "",
        f"{document['date']}, torch {document['torch']}, {document.get('device', 'cpu')}; {size}.",
        *unfinished,
        *fewer,
    ]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [list(map(str, row)) for row in rows]
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(r) + " |" for r in lines),
    ]


def scores(arm: Document, metric: str | None = None) -> dict[int, float]:
    """Seed -> test score, or the value of `metric`. Seeds for which it is undefined are left out."""
    found = {run["seed"]: run["metrics"].get(metric) if metric else run["score"] for run in arm["runs"]}
    return {seed: value for seed, value in found.items() if value is not None}


def spread(mean: Mean, scale: float = 100.0) -> str:
    """`74.5 ± 1.1`: the mean and half the width of its 95 % interval. A single seed has no interval."""
    return f"{scale * mean.value:.1f}" + ("" if mean.half is None else f" ± {scale * mean.half:.1f}")


def scale_of(metric: str) -> float:
    """What values are multiplied by: 100 for shares, shown in percent; 1 for errors in the label's own unit."""
    return 1.0 if any(task.monitors.get(metric) == "min" for task in TASKS.values()) else 100.0


def arms_of(document: Document, task: str) -> list[Document]:
    return [arm for arm in document["arms"] if arm["task"] == task and scores(arm)]


def arm_table(document: Document, task: Document) -> list[str]:
    """Tabulate a task's arms: test scores, cost, parameters. The last row is the same answer for all samples."""
    scale = scale_of(task["metric"])
    arms = arms_of(document, task["name"])
    further = [m for m in FURTHER if m != task["metric"] and any(scores(arm, m) for arm in arms)]
    rows: list[tuple[object, ...]] = [
        (
            arm["name"],
            spread(mean_of(list(scores(arm).values())), scale),
            " ".join(f"{scale * score:.1f}" for score in scores(arm).values()),
            *(spread(mean_of(list(found.values()))) if (found := scores(arm, m)) else "" for m in further),
            f"{1e3 * arm['attention_gflops']:.4g}",
            f"{1e3 * arm['gflops']:.4g}",
            f"{arm['parameters']:,}",
        )
        for arm in arms
    ]
    constants = {metric: task["majority"]["metrics"].get(metric) for metric in (task["metric"], *further)}
    first, *others = ("" if value is None else f"{scale_of(metric) * value:.1f}" for metric, value in constants.items())
    rows.append((f"({task['majority']['name']})", first, "", *others, "", "", ""))
    unit = "" if scale == 1 else ", %"
    columns = (
        "model",
        f"test {task['metric']}{unit}, mean ± 95 % interval",
        "each seed",
        *(f"test {m}, %, mean ± 95 % interval" for m in further),
        "attention MFLOPs",
        "MFLOPs",
        "parameters",
    )
    return table(columns, rows)


def compared(document: Document, task: Document, first: str, second: str) -> Difference | None:
    """The difference of two arms, paired by seed: above 0 if the first is better. None if an arm is missing."""
    found = {name: scores(arm) for arm in arms_of(document, task["name"]) for name in _names(arm)}
    if first not in found or second not in found or not found[first].keys() & found[second].keys():
        return None
    if task["better"] == "less":
        first, second = second, first
    return difference(found[first], found[second])


def _names(arm: Document) -> list[str]:
    """The names of an arm: several if strategies make the same table."""
    return [arm["name"], *arm["facts"].get("strategies", [])]


def told(what: Difference, scale: float) -> str:
    """Write a difference as `+1.2 [+0.3, +2.1], p = 0.020, better in 5 of 5 seeds`."""
    mean = what.mean
    text = f"{scale * mean.value:+.1f}"
    if mean.half is None:
        return text + " (one seed)"
    assert what.p is not None
    interval = f"[{scale * mean.low:+.1f}, {scale * mean.high:+.1f}]"
    return f"{text} {interval}, p {_equals(what.p)}, better in {what.wins} of {mean.seeds} seeds"


def _equals(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def comparison_table(document: Document, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Compare every pair of arms on every task."""
    return comparisons(document, [(task, first, second) for task in document["tasks"] for first, second in pairs])


def comparisons(document: Document, wanted: Sequence[tuple[Document, str, str]]) -> list[str]:
    """Tabulate differences: interval, p of the paired t test, wins, and q, which is p corrected for their number.

    Args:
        document: the study's results.
        wanted: (task, one arm, another arm); skipped if one of the arms is missing.
    """
    found = [(task, first, second, compared(document, task, first, second)) for task, first, second in wanted]
    tested = [(task, first, second, what) for task, first, second, what in found if what is not None]
    rates = iter(false_discovery_rates([what.p for *_, what in tested if what.p is not None]))
    rows = [
        (
            task["name"],
            f"{first} less {second}",
            told(what, scale_of(task["metric"])),
            "" if what.p is None else f"q {_equals(next(rates))}",
        )
        for task, first, second, what in tested
    ]
    lines = table(("task", "difference", "points [95 % interval], paired t test", "corrected"), rows)
    note = f"{len(rows)} comparisons. q is p corrected for their number: the false discovery rate (Benjamini & Hochberg"
    return [*lines, "", f"{note} 1995). Intervals are not corrected."]


def verdict(document: Document, first: str, second: str) -> str:
    """Count the tasks on which one arm is better than another, worse, or not told apart from it.

    There is no verdict on fewer than `FEWEST` seeds: two seeds that happen to agree have an interval of width 0.
    """
    tried = [(task["name"], compared(document, task, first, second)) for task in document["tasks"]]
    found = [(name, what) for name, what in tried if what is not None]
    groups: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for name, what in found:
        groups[what.apart].append(name)
    fewest = min((what.mean.seeds for _, what in found), default=0)
    if fewest < FEWEST:
        few = f"{fewest} paired {'seed' if fewest == 1 else 'seeds'}"
        return f"**{first}** against **{second}**: {few} support no verdict."

    def names(sign: int) -> str:
        return f" ({', '.join(groups[sign])})" if groups[sign] else ""

    return (
        f"Of {len(found)} {'task' if len(found) == 1 else 'tasks'}, **{first}** is better than **{second}** on "
        f"{len(groups[1])}{names(1)}, worse on {len(groups[-1])}{names(-1)}, and on "
        f"{len(groups[0])}{names(0)} the 95 % interval of the paired difference holds 0."
    )


def verdicts(document: Document, pairs: Sequence[tuple[str, str]]) -> str:
    """Give the verdict on every pair, in one paragraph."""
    return " ".join(verdict(document, first, second) for first, second in pairs)


def tuning_note(document: Document) -> list[str]:
    """Describe how the models were tuned and what was chosen."""
    tuned = [arm for arm in document["arms"] if len(arm["tuning"]) > 1]
    if not tuned:
        return ["No model was tuned: all have the recipe's settings."]
    counts = sorted({len(arm["tuning"]) for arm in tuned})
    fields = sorted({name for arm in tuned for name in arm["chosen"]})
    chosen = "; ".join(
        f"{arm['task']} {arm['name']} {', '.join(arm['chosen'].values())}" for arm in tuned if arm["chosen"]
    )
    return [
        f"Tuning, for every model alike: {' or '.join(map(str, counts))} values of {', '.join(fields)}, one run each "
        "with the first seed, chosen by the validation split; the test split was scored with what was chosen.",
        "",
        f"<details><summary>Chosen</summary>{chosen}</details>",
    ]


def tasks_note(document: Document) -> list[str]:
    """Describe the tasks."""
    lines = [
        f"- **{task['name']}**: {task['about']} Tokens: "
        + ", ".join(f"{name} {count}" for name, count in task["tokens"].items())
        + f"; {task['fusion_layers']} fusion layers of {task['heads']} heads."
        for task in document["tasks"]
    ]
    return [*lines, "", "How they are made: [data sets of the studies](data.md)."]


def ending(document: Document) -> list[str]:
    """End a page: a table for each task, then how the study was done."""
    tables = [line for task in document["tasks"] for line in ("", f"## {task['name']}", "", *arm_table(document, task))]
    return [*tables, *how(document)]


def how(document: Document) -> list[str]:
    """Describe how the study was done: its tasks, its tuning, and what counts as a FLOP."""
    lines = ["", "## How it was done", "", *tasks_note(document), "", *tuning_note(document)]
    return [*lines, "", convention(document)]


def convention(document: Document) -> str:
    return f"FLOPs: one full sample forward, {document['convention']}."
