"""The results of a comparison: rows of plain JSON types, made from finished runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from locomt.compare.late_average import NAME
from locomt.compare.majority import majority
from locomt.cost import flops, guarantee, parameters, token_counts, variants
from locomt.cost.measured import measure
from locomt.data import DataConfig
from locomt.progress import stage
from locomt.train.evaluation import Run
from locomt.train.recipe import Recipe
from locomt.train.runs import Job, Outcome, device_of, torch_threads

Entry = dict[str, Any]

SECONDS = 1.0
"""How long the forward passes of the models are timed, in turns."""


def run_entry(recipe: str, name: str, seed: int, job: Job, outcome: Outcome) -> Entry:
    """The entry of a run: its test metrics, and the history row of the epoch whose weights were scored."""
    assert outcome.scores is not None
    return {
        "recipe": recipe,
        "name": name,
        "seed": seed,
        "directory": str(job.directory),
        "metrics": outcome.scores["metrics"],
        "per_class": outcome.scores["per_class"],
        "samples": outcome.scores["samples"],
        "skipped": outcome.scores["skipped"],
        "best_epoch": outcome.summary,
        "seconds": round(outcome.seconds, 1),
    }


def model_rows(
    recipe: str, metric: str, firsts: Mapping[str, Run], runs: Sequence[Entry], *, threads: int
) -> list[Entry]:
    """A row for each model: its mean and sample standard deviation over seeds (None for one seed), and its cost.

    FLOPs and latency are those of a forward pass of one sample through all views. Peak memory is that of a training
    step of one sample. All models are timed in turns.

    Args:
        recipe, metric: names.
        firsts: model -> one of its runs.
        runs: the entries of all runs of these models.
        threads: CPU threads for the timing.
    """
    device = device_of(next(iter(firsts.values())).recipe)
    models = {name: run.model.to(device) for name, run in firsts.items()}
    for model in models.values():
        model.set_answer({})  # what it costs with all its views, whether or not validation found them of use
    inputs = {key: value for model in models.values() for key, value in model.example_inputs(1).items()}
    with stage("timing models", "rounds"), torch_threads(threads):
        forward = measure(models, inputs, seconds=SECONDS)
        training = measure(models, inputs, training=True, seconds=0.0)
    rows = []
    for name, run in firsts.items():
        own = [entry for entry in runs if entry["name"] == name]
        cost = flops(run.model.config)
        rows.append(
            {
                **_scored(recipe, name, metric, [entry["seed"] for entry in own], own),
                "gflops": cost.total / 1e9,
                "attention_gflops": cost.attention / 1e9,
                "parameters": parameters(run.model.config),
                "latency_ms": forward[name].latency_ms,
                "peak_memory_bytes": training[name].peak_memory_bytes,
            }
        )
    return rows


def average_row(parts: Sequence[Entry], scored: Sequence[Mapping[str, Any]]) -> Entry:
    """The row of the late average. It costs as much as its parts one after the other.

    Args:
        parts: the rows of the modalities alone.
        scored: what `late_average` returned for each seed.
    """
    first = parts[0]
    costs = ("gflops", "attention_gflops", "parameters", "latency_ms")
    return {
        **_scored(first["recipe"], NAME, first["metric"], first["seed_list"], scored),
        "parts": [row["name"] for row in parts],
        **{cost: sum(row[cost] for row in parts) for cost in costs},
        "peak_memory_bytes": max(row["peak_memory_bytes"] for row in parts),
    }


def _scored(recipe: str, name: str, metric: str, seeds: Sequence[int], scored: Sequence[Mapping[str, Any]]) -> Entry:
    """Summarise the scores of several seeds."""
    scores = [entry["metrics"][metric] for entry in scored]
    mean, std = _mean_and_std(scores)
    return {
        "recipe": recipe,
        "name": name,
        "metric": metric,
        "mean": mean,
        "std": std,
        "seeds": len(scored),
        "seed_list": list(seeds),
        "scores": scores,
        "metrics": _over_seeds([entry["metrics"] for entry in scored]),
        "per_class": {
            label: _over_seeds([entry["per_class"][label] for entry in scored]) for label in scored[0]["per_class"]
        },
        "samples": scored[0]["samples"],
        "skipped": scored[0]["skipped"],
    }


def _over_seeds(scores: Sequence[Mapping[str, float | None]]) -> Entry:
    """The mean and standard deviation of every score over the seeds."""
    return {
        name: dict(zip(("mean", "std"), _mean_and_std([score[name] for score in scores]), strict=True))
        for name in scores[0]
    }


def _mean_and_std(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """The mean and sample standard deviation over the seeds that have a value."""
    defined = [value for value in values if value is not None]
    mean = statistics.fmean(defined) if defined else None
    return mean, statistics.stdev(defined) if len(defined) > 1 else None


def baseline_entry(recipe: str, metric: str, data: DataConfig, labels: Sequence[str]) -> Entry:
    """The entry of one answer for all samples."""
    metrics = majority(data, labels)
    return {
        "recipe": recipe,
        "name": data.target.floor_name,
        "metric": metric,
        "value": metrics[metric],
        "metrics": metrics,
    }


def recipe_entry(name: str, metric: str, recipe: Recipe, labels: Sequence[str]) -> Entry:
    """The entry of a recipe: what its models share, LoCoMT's view table, and the four numbers of the guarantee."""
    config = variants(recipe.fusion_config(labels))["locomt"]
    table = config.view_table()
    bounds = guarantee(config)
    return {
        "name": name,
        "task": recipe.data.task,
        "metric": metric,
        "better": recipe.data.target.better(metric),
        "manifest": recipe.data.manifest,
        "labels": list(labels),
        "device": str(device_of(recipe)),
        "tokens": token_counts(config),
        "views": str(table),
        "guarantee": vars(bounds.total) | {"bottlenecks": bounds.bottlenecks, "holds": bounds.holds},
        "settings": recipe.to_dict(),
    }
