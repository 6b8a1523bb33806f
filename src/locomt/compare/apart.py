"""Which fused models of a comparison answer to each modality apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locomt.train.below_its_part import PAGE


def apart_lines(document: Mapping[str, Any]) -> list[str]:
    """A sentence for each recipe with such models: which, and in how many of their runs.

    Args:
        document: `recipes` and `runs` as `locomt.compare.compare.compare` returns them, or returned them before.
    """
    lines = []
    for recipe in document["recipes"]:
        counts: dict[str, list[bool]] = {}
        for run in document["runs"]:
            if run["recipe"] == recipe["name"]:
                counts.setdefault(run["name"], []).append(bool(run["best_epoch"].get("apart")))
        found = [f"{name} ({sum(runs)} of {len(runs)} runs)" for name, runs in counts.items() if any(runs)]
        if found:
            where = f"{recipe['name']}: " if len(document["recipes"]) > 1 else ""
            lines.append(
                f"{where}the answer is to each modality apart in {', '.join(found)}: by the validation split, to look "
                f"across them tells nothing more; see {PAGE}"
            )
    return lines
