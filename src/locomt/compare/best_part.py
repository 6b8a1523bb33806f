"""Find fused models of a comparison that are worse than the best of their modalities alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from locomt.compare.score_table import spread
from locomt.nn.config import FUSIONS
from locomt.train.below_its_part import PAGE, advice, below, is_share

Entry = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Fused models that are worse than the best of their modalities alone.

    Attributes:
        line: a sentence: which models, by how much, and what to do.
        recipe: the name of the recipe.
        part: the best modality.
        models: model -> by how much its mean is worse, in the metric's unit.
    """

    line: str
    recipe: str
    part: str
    models: Mapping[str, float]


def below_best_part(document: Entry) -> list[Finding]:
    """Find models below their best part: a finding for each recipe and best part.

    Means over the seeds are compared. The spread is named but not taken into account: a difference within it may be
    chance.

    Args:
        document: `models` and `recipes` as `locomt.compare.compare.compare` returns them, or returned them before.
    """
    findings = []
    for recipe in document["recipes"]:
        rows = {row["name"]: row for row in document["models"] if row["recipe"] == recipe["name"]}
        behind: dict[str, dict[str, str]] = {}
        mode = "min" if recipe["better"] == "less" else "max"
        modalities = recipe["settings"]["data"]["modalities"]
        alone = {n: rows[n]["mean"] for n in modalities if n in rows and rows[n]["mean"] is not None}
        for name, row in rows.items():
            parts = modalities if name in FUSIONS else name.split("+")
            own = {part: alone[part] for part in parts if part in alone}
            if len(parts) < 2 or not own or row["mean"] is None:
                continue
            best = (max if mode == "max" else min)(own, key=own.__getitem__)
            if by := below(row["mean"], own[best], mode):
                behind.setdefault(best, {})[name] = by
        where = f"{recipe['name']}: " if len(document["recipes"]) > 1 else ""
        for best, models in behind.items():
            line = f"{where}{_sentence(models, rows, best, mode)}: see {PAGE}; " + advice(
                best, _train_of(recipe, document), parts=len(alone)
            )
            by_how_much = {name: abs(rows[name]["mean"] - alone[best]) for name in models}
            findings.append(Finding(line=line, recipe=recipe["name"], part=best, models=by_how_much))
    return findings


def _sentence(models: Mapping[str, str], rows: Mapping[str, Entry], part: str, mode: str) -> str:
    """`locomt is 3.2 and mbt 4.0 points below sound alone (test accuracy 96.1 ± 0.7)`."""
    best, ((first, by), *others) = rows[part], models.items()
    amounts = [f"{first} is {by}", *(f"{name} {by}" for name, by in others)]
    share = is_share(best["mean"], mode)
    scale = 100 if share else 1
    score = spread(scale * best["mean"], best["std"] and scale * best["std"], digits=1 if share else 3)
    listed = " and ".join(filter(None, [", ".join(amounts[:-1]), amounts[-1]]))
    how = "points below" if share else "worse than"
    fewer = best.get("skipped", 0) > rows[first].get("skipped", 0)  # so the two are not scored on the same samples
    of = f", on the {best['samples']} of {best['samples'] + best['skipped']} samples that have it" if fewer else ""
    return f"{listed} {how} {part} alone (test {best['metric']} {score}{of})"


def _train_of(recipe: Entry, document: Entry) -> Entry:
    """The recipe's `train` section; the weight of the parts' losses counts as set if it was tuned."""
    tuned = {name for entry in document.get("tuning", []) for point in entry["points"] for name in point["values"]}
    train: Entry = recipe["settings"]["train"]
    return {**train, "unimodal_loss": 1.0} if "train.unimodal_loss" in tuned else train
