"""The page of a run: how well it does on a split, where it errs, what it looks at, where the figures come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset

from locomt.cost import flops
from locomt.data import ManifestDataset
from locomt.report import charts, figures
from locomt.report.answers import Answers
from locomt.report.cards import Cards
from locomt.report.page import Section, facts, figure, render, side_by_side, table
from locomt.report.provenance import provenance
from locomt.report.small_sizes import attention_line
from locomt.report.tasks import SECTIONS
from locomt.report.tasks.material import Material
from locomt.tasks.shares import wilson
from locomt.train.attention_mass import measure_mass
from locomt.train.below_its_part import of_run
from locomt.train.evaluation import Run, best_device, evaluate
from locomt.train.loading import make_loader
from locomt.train.run_cautions import of_scores, of_trainings
from locomt.train.run_directory import RunDirectory, write_text

LOOKED_AT = 32
"""Samples over which the attention is averaged: more would hardly change the mean."""


def write_report(
    run: Run,
    folder: str | Path | None = None,
    *,
    split: str | None = None,
    device: torch.device | str | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Path:
    """Score a run on a split and write the page of it.

    Args:
        run: the run.
        folder: where the page goes; the run's own when left out.
        split, device, on_step: as for `evaluate`.

    Returns:
        The page, `report-SPLIT.html`.

    Raises:
        ValueError: as `evaluate`.
        OSError: the page cannot be written.
    """
    answers = Answers(run.recipe.data.target)
    scores = evaluate(run, split, device=device, on_step=on_step, on_answers=answers.add)
    split = split or run.recipe.data.test_split
    path = page_path(folder or run.path, split)
    write_text(path, page_of(run, split, scores, answers, device=device))
    return path


def page_path(folder: str | Path, split: str) -> Path:
    """The page of a split, whatever its name."""
    name = re.sub(r"[^\w.-]+", "-", split)[:60]
    return Path(folder) / f"report-{name}.html"


def page_of(
    run: Run,
    split: str,
    scores: Mapping[str, Any],
    answers: Answers,
    *,
    device: torch.device | str | None = None,
) -> str:
    """The text of the page.

    Args:
        run: the run.
        split: that it was scored on.
        scores: what `evaluate` returned.
        answers: what it told of.
        device: where to look at the attention.
    """
    cards = Cards(ManifestDataset(run.recipe.data, split, run.labels))
    first = run.members[0]
    folder = RunDirectory(first.path)
    below = of_run(folder.read_summary(), run.recipe) if run is first and folder.summary.is_file() else ""
    return render(
        f"{run.path.resolve().name}: {run.recipe.data.task}, split {split}",
        [*sections_of(run, split, scores, answers, cards, device=device), made_of(run, split, scores)],
        lead=[*([below] if below else []), headline(split, scores)],
        about=notes_of(run, split, scores),
        cards=cards.entries,
    )


def sections_of(
    run: Run,
    split: str,
    scores: Mapping[str, Any],
    answers: Answers,
    cards: Cards,
    *,
    device: torch.device | str | None = None,
) -> list[Section]:
    """What is on the page of a run but for where the figures come from; `cards` takes in the samples that are shown."""
    data = run.recipe.data
    material = Material(answers, run.labels, cards, data.seconds or 0.0)
    return [
        _scores(scores),
        *SECTIONS[data.task](material),
        *_training(RunDirectory(run.members[0].path).read_history(), data.target.monitors),
        *_looks(run, cards.dataset, device or best_device()),
    ]


def made_of(run: Run, split: str, scores: Mapping[str, Any]) -> Section:
    """Where the figures of a run come from."""
    return Section("Where these figures come from", facts(provenance(run, split, scores["samples"])))


def notes_of(run: Run, split: str, scores: Mapping[str, Any]) -> list[str]:
    """What is to be known of the figures of a run."""
    costs = [flops(member.model.config) for member in run.members]
    total, attention = sum(cost.total for cost in costs), sum(cost.attention for cost in costs)
    return [*_several(run.members), *_warnings(run, split, scores), attention_line(total / 1e9, attention / 1e9)]


def headline(split: str, scores: Mapping[str, Any]) -> str:
    """How good it is, in a sentence."""
    name, value = next(iter(scores["metrics"].items()))
    count = scores["samples"]
    text = f"Split {split}: {name} {_number(value)} on {count:,} samples"
    if name == "accuracy" and value is not None:
        low, high = wilson(value * count, count)
        text += f" (95 % interval {low:.3f} to {high:.3f}, as far as samples are independent)"
    return text + "."


def _several(members: Sequence[Run]) -> list[str]:
    if len(members) == 1:
        return []
    names = ", ".join(str(member.path) for member in members)
    return [f"The mean of the answers of {len(members)} models: {names}. Curves and views are those of the first."]


def _warnings(run: Run, split: str, scores: Mapping[str, Any]) -> list[str]:
    lines = [f"Caution: {line}." for line in [*of_scores(scores, split), *of_trainings(run)]]
    if scores["skipped"]:
        lines.append(f"{scores['skipped']:,} samples could not be read and are not among these.")
    lines += [
        f"{count:,} samples went without {name}: their files lack it."
        for name, count in scores.get("missing", {}).items()
    ]
    return lines


def _scores(scores: Mapping[str, Any]) -> Section:
    body = table(("metric", "value"), [(name, _number(value)) for name, value in scores["metrics"].items()])
    if classes := scores["per_class"]:
        names = list(next(iter(classes.values())))
        rows = [(label, *(_number(values[name]) for name in names)) for label, values in classes.items()]
        body += table(("class", *names), rows)
    return Section("Scores", body)


def _training(history: Sequence[Mapping[str, float | None]], metrics: Mapping[str, str]) -> list[Section]:
    """The curves of the loss and of the metrics by which runs are judged, each modality's own too."""
    drawn = []
    for metric in ("loss", *(name for name in metrics if name != "loss")):
        lines: dict[str, list[list[tuple[float, float]]]] = {}
        for column in dict.fromkeys(name for row in history for name in row):
            kind, _, part = column.partition("/")
            place, _, name = kind.partition("_")
            if name != metric or place not in ("train", "val"):
                continue
            points = [(row["epoch"], row[column]) for row in history if row.get(column) is not None]
            words = {"train": "training", "val": "validation"}[place] + (f", {part} alone" if part else "")
            if points:
                lines[words] = [[(float(e or 0), float(v or 0)) for e, v in points]]
        if lines:
            drawn.append(figure(metric, figures.curves(lines, metric)))
        if len(drawn) == 2:
            break
    about = "After each epoch; a modality alone is what the model answers with the others missing."
    return [Section("Training", side_by_side(drawn), about)] if drawn else []


def _looks(run: Run, dataset: ManifestDataset, device: torch.device | str) -> list[Section]:
    """The table of views, and where the heads look within it; nothing of a model without a table."""
    config, model = run.model.config, run.model
    if (views := model.table) is None:
        return []
    assert config.depth is not None
    first, names = config.depth - len(views.layers) + 1, views.modalities
    drawn = [figure("Views", figures.views(str(views), names, first), "What each head may look at.")]
    heads = [view for layer in views.layers for view in layer.heads]
    if all(sum(view.sees(i, j) for j in names) <= 1 for view in heads for i in names):
        about = "The queries of a head see one modality each: the table says where all of the attention goes."
        return [Section("What looks where", side_by_side(drawn), about)]
    count = min(LOOKED_AT, len(dataset))
    samples = Subset(dataset, [place * len(dataset) // count for place in range(count)])
    mass = measure_mass(model, make_loader(samples, run.recipe), device)
    if mass.samples.any():
        caption = f"Mean over the heads of a layer and over {int(mass.samples.max())} samples."
        drawn.append(figure("Attention", charts.mass(mass.mean.mean(dim=1), names, first), caption))
    return [Section("What looks where", side_by_side(drawn))]


def _number(value: Any) -> str:
    if value is None:
        return "undefined"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
