"""What a model's card tells that is not in the model: its data, its scores so far, the licence. Kept in `card.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from locomt.data.config import DataConfig
from locomt.data.overview import overview
from locomt.files import fingerprint, to_json, write_text
from locomt.tasks.shares import wilson
from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunError


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
            facts = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{path}: expected what a model's card tells, got something else ({error})") from None
        if not isinstance(facts.data, dict) or not isinstance(facts.scores, dict):
            raise RunError(f"{path}: expected data and scores, got {facts!r:.60}; remove it")
        return facts

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
