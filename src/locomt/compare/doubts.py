"""Where a comparison says little: the cautions about its data, its seeds, its scores and its runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locomt import cautions
from locomt.cautions import History
from locomt.data import DataConfig
from locomt.data.overview import manifest_cautions
from locomt.tasks import TASKS
from locomt.train.run_directory import RunDirectory


def doubts(document: Mapping[str, Any], manifests: Mapping[str, DataConfig]) -> list[str]:
    """The cautions, each once.

    Args:
        document: `models`, `recipes` and `runs` as `locomt.compare.compare.compare` returns them.
        manifests: recipe -> its data.
    """
    lines = [line for data in manifests.values() for line in manifest_cautions(data)]
    for recipe in document["recipes"]:
        rows = [row for row in document["models"] if row["recipe"] == recipe["name"]]
        where = f"{recipe['name']}: " if len(document["recipes"]) > 1 else ""
        better = TASKS[recipe["settings"]["data"]["task"]].monitors[recipe["metric"]]
        scores = {row["name"]: row["mean"] for row in rows}
        found = cautions.of_seeds(min(row["seeds"] for row in rows)) if len(rows) > 1 else []
        found += cautions.of_ties(scores, samples=rows[0]["samples"], better=better)
        lines += [f"{where}{line}" for line in [*found, *of_runs(document, recipe["name"])]]
    return list(dict.fromkeys(lines))


def of_runs(document: Mapping[str, Any], recipe: str) -> list[str]:
    """The cautions about the runs of a recipe: losses that diverged, or never fell."""
    histories: dict[str, list[History]] = {}
    diverged: dict[str, list[str | None]] = {}
    for run in document["runs"]:
        if run["recipe"] == recipe:
            said = run["best_epoch"].get("diverged")
            diverged.setdefault(run["name"], []).append(said)
            if not said:
                histories.setdefault(run["name"], []).append(RunDirectory(Path(run["directory"])).read_history())
    return cautions.of_divergence(diverged) + cautions.of_losses(histories)
