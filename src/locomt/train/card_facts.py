"""What a model's card tells that is not in the model: its data, its scores so far, the licence. Kept in `card.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any

from locomt.data.config import DataConfig
from locomt.data.overview import overview
from locomt.files import fingerprint, to_json, write_text
from locomt.tasks.shares import wilson
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunError

SCORE: Any = (int, float, NoneType)
ENTRY: Any = {
    "metrics": {...: SCORE},
    "intervals": {...: [(int, float)]},
    "samples": int,
    "alone": {...: {...: SCORE}},
}
DATA: Any = {"manifest": str, "sha256": str, "samples": {...: int}, "classes": {...: {...: int}}}
FORM: Any = {"data": DATA, "scores": {...: ENTRY}, "license": (str, NoneType), "repo": (str, NoneType)}
"""What `card.json` holds: fields, or any names (`...`), and the types of their values; `data` may be empty."""


@dataclass(frozen=True)
class Facts:
    """What a card tells.

    Attributes:
        data: `manifest` (its name), `sha256`, `samples` (split -> how many) and `classes` (class -> split -> how many);
            empty where the data are not there any more.
        scores: split -> `metrics`, `intervals` (metric -> its ends), `samples`; of the split that chose the epoch
            `alone` too (modality -> metrics).
        license: as the user says.
        repo: the id on the hub, once it is known.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    license: str | None = None
    repo: str | None = None

    @classmethod
    def of_training(cls, recipe: Recipe, summary: Mapping[str, Any], samples: int) -> Facts:
        """What training knows at its end.

        Args:
            recipe: of the run.
            summary: the best epoch's row.
            samples: of the validation split.
        """
        found: dict[str, dict[str, Any]] = {"": {}}
        for name, value in summary.items():
            metric, _, part = name.removeprefix("val_").partition("/")
            if name.startswith("val_") and metric != "loss":
                found.setdefault(part, {})[metric] = value
        metrics, data = found.pop(""), recipe.data
        facts = cls(_data(data))
        return facts.scored(data.val_split, metrics, samples, alone=found) if metrics else facts

    @classmethod
    def read(cls, path: Path, data: DataConfig) -> Facts:
        """Those of a run; of a run of earlier versions what its manifest says, if it is still there.

        Raises:
            RunError: the file holds something else.
        """
        if not path.is_file():
            return cls(_data(data))
        try:
            document = json.loads(path.read_text(encoding="utf-8"), parse_constant=float)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}: not valid JSON ({error})") from None
        if not _fits(document, FORM):
            raise RunError(f"{path}: expected what a model's card tells, got {document!r:.60}; remove it")
        return cls(**document)

    def write(self, path: Path) -> None:
        write_text(path, to_json(asdict(self), indent=2) + "\n")

    def scored(
        self,
        split: str,
        metrics: Mapping[str, float | None],
        samples: int,
        *,
        intervals: Mapping[str, tuple[float, float]] | None = None,
        alone: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Facts:
        """The same with the scores of a split, in place of those that it had.

        Args:
            split: as the manifest names it.
            metrics: of the model.
            samples: how many were scored.
            intervals: 95 % each. That of an accuracy is known without.
            alone: modality -> metrics of the model's answers to it with the others missing.
        """
        known = {name: list(ends) for name, ends in (intervals or {}).items()}
        accuracy = metrics.get("accuracy")
        if accuracy is not None and samples:
            known["accuracy"] = list(wilson(accuracy * samples, samples))
        before = self.scores.get(split, {})
        entry = {"metrics": dict(metrics), "intervals": known, "samples": samples}
        entry["alone"] = dict(alone if alone is not None else before.get("alone", {}))
        return replace(self, scores={**self.scores, split: entry})


def _fits(value: Any, form: Any) -> bool:
    """Whether a document is of a form, such as `FORM`."""
    if isinstance(form, list):
        return isinstance(value, list) and len(value) == 2 and all(_fits(part, form[0]) for part in value)
    if not isinstance(form, dict):
        return isinstance(value, form) and (not isinstance(value, float) or math.isfinite(value))
    if not isinstance(value, dict):
        return False
    if ... in form:
        return all(_fits(part, form[...]) for part in value.values())
    if form is DATA and not value:
        return True
    return value.keys() == form.keys() and all(_fits(value[name], form[name]) for name in form)


def _data(config: DataConfig) -> dict[str, Any]:
    path = Path(config.manifest)
    try:
        seen, digest = overview(config), fingerprint(path)
    except (OSError, ValueError):  # gone, or another by now: no reason to lose a model that is trained
        return {}
    return {
        "manifest": path.name,
        "sha256": digest,
        "samples": dict(seen.samples),
        "classes": {name: dict(counts) for name, counts in seen.classes.items()},
    }
