"""Runs that take no time, for what is about which runs are done and not about what comes out of them."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from locomt.files import write_text
from locomt.train.epoch_keeper import as_csv
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory


def quick_fit(labels: tuple[str, ...], tick: Callable[[], None] = lambda: None) -> Callable[..., dict[str, Any]]:
    """What stands for `locomt.train.fitting.fit`: the same files, with scores that hang by views, seed and epoch.

    Args:
        labels: of the run.
        tick: called whenever a file of the run has changed, and after each epoch was told.
    """

    def fit(
        recipe: Recipe, path: Path, *, resume: bool, on_epoch: Callable[[Any], None] | None = None
    ) -> dict[str, Any]:
        run = RunDirectory(path)
        assert resume
        if run.finished:
            return run.read_summary()
        (run.resume if run.holds_run else run.begin)(recipe, labels)
        rows = json.loads(run.last.read_text()) if run.last.exists() else []
        while len(rows) < recipe.train.epochs:
            text = f"{recipe.model.views} {recipe.train.seed} {len(rows)}"
            chance = int(sha256(text.encode()).hexdigest(), 16) % 1000 / 1000
            rows.append({"epoch": len(rows) + 1, "val_accuracy": chance})
            write_text(run.history, as_csv(rows))
            tick()
            write_text(run.last, json.dumps(rows))
            tick()
            if on_epoch:
                on_epoch(rows[-1])
                tick()
        best = max(rows, key=lambda row: row["val_accuracy"])
        run.export({"monitor": "val_accuracy", "skipped": 0, **best}, Path.mkdir)
        tick()
        return run.read_summary()

    return fit
