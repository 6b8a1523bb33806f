"""Where a search says little: the cautions about its data, the seeds of its tables, their scores and their runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locomt import cautions
from locomt.data.overview import manifest_cautions, overview
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory


def doubts(document: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """The cautions.

    Args:
        document: `chosen` and `tables` as `locomt.search.ledger.Ledger.document` returns them.
        recipe: of the search.
    """
    found, chosen = overview(recipe.data), document["chosen"]
    names = {", ".join(entry["names"]): entry["mean"] for entry in document["tables"]}
    runs = [RunDirectory(Path(run)).read_history() for run in chosen["runs"]]
    return [
        *manifest_cautions(recipe.data, found),
        *(cautions.of_seeds(len(chosen["seeds"])) if len(names) > 1 else []),
        *cautions.of_ties(
            names,
            samples=found.samples.get(recipe.data.val_split),
            better=recipe.monitor_mode,
            name=", ".join(chosen["names"]),
        ),
        *cautions.of_losses({", ".join(chosen["names"]): runs}),
    ]
