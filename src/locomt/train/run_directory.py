"""The run directory: what it holds, and how its files come to be whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locomt.data.dealing import read_splits
from locomt.files import flush, make_directory, replacing, write_text
from locomt.hints import in_short
from locomt.lock import is_lock
from locomt.train.origin import MARK, mark_of
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import read_recipe

__all__ = ["FREE", "RunDirectory", "RunError", "flatten", "replacing", "write_text"]

FREE = (
    *("data.workers", "data.cache", "data.max_bad", "data.allow_outside"),
    *("train.accelerator", "train.devices", "train.checkpoint_minutes", "train.logger"),
)
"""What may differ when a run is resumed: it changes how the work is done and not what comes out."""


class RunError(ValueError):
    """A run directory that cannot serve: says what it was expected to hold and what to do."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run.

    Attributes:
        path: the directory. It holds a run once `config.yaml` is there, a finished one once `model/` is.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved recipe."""
        return self.path / "config.yaml"

    @property
    def labels(self) -> Path:
        """The labels, in the order of the model's outputs."""
        return self.path / "labels.json"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "metrics.csv"

    @property
    def summary(self) -> Path:
        """The row of the epoch whose weights were exported."""
        return self.path / "summary.json"

    @property
    def card(self) -> Path:
        """What the model's card tells of data and scores."""
        return self.path / "card.json"

    @property
    def splits(self) -> Path:
        """Where the recipe dealt out samples: the split of each."""
        return self.path / "splits.csv"

    @property
    def loggers(self) -> Path:
        """What loggers call this run."""
        return self.path / "loggers.json"

    @property
    def views(self) -> Path:
        """How often each layer held each view, epoch by epoch, where views were learned."""
        return self.path / "views.json"

    @property
    def bad_samples(self) -> Path:
        return self.path / "bad_samples.jsonl"

    @property
    def last(self) -> Path:
        """Everything needed to go on, after an epoch or in the midst of one."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights of the best epoch so far."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def model(self) -> Path:
        """The finished model: safetensors and `config.json`."""
        return self.path / "model"

    @property
    def holds_run(self) -> bool:
        return self.config.is_file()

    @property
    def finished(self) -> bool:
        return self.holds_run and self.model.is_dir()

    def check_free(self) -> None:
        """Check that a run can begin here.

        Raises:
            RunError: there is a run already, or files that belong to none.
        """
        if self.holds_run:
            state = "finished" if self.finished else "unfinished"
            raise RunError(
                f"{self.path} holds {'a' if self.finished else 'an'} {state} run; resume it (--resume), name "
                "another directory (--run) or remove it"
            )
        if self.path.exists() and (not self.path.is_dir() or not all(map(is_lock, self.path.iterdir()))):
            raise RunError(f"{self.path} is no empty directory and holds no run; name another directory (--run)")

    def begin(self, recipe: Recipe, labels: Sequence[str], splits: Mapping[str, str] | None = None) -> None:
        """Make the directory and put down the recipe, the labels, and the split of each sample where it was dealt.

        Raises:
            RunError: there is a run already, or files that belong to none.
        """
        self.check_free()
        make_directory(self.path)
        try:
            self.write_labels(labels)
            self._write_splits(splits)
            self._write_config(recipe)  # last: from here on there is a run
        except OSError:
            for path in (self.labels, self.splits):
                path.unlink(missing_ok=True)  # by itself it would be taken for somebody else's
            raise

    def resume(self, recipe: Recipe, labels: Sequence[str], splits: Mapping[str, str] | None = None) -> None:
        """Check that this is the run that the recipe describes.

        A run that was stopped before its first checkpoint takes over the recipe and labels given: it holds
        nothing yet that they could contradict.

        Raises:
            RunError: it is another one; names the first field, label or sample that differs.
        """
        if not self.last.exists() and not self.finished:
            self.write_labels(labels)
            self._write_splits(splits)
            self._write_config(recipe)
            return
        before, now = flatten(read_recipe(self.config)[0].to_dict()), flatten(recipe.to_dict())
        names = [name for name in sorted(before.keys() | now.keys()) if name not in FREE]
        changed = [(name, old, new) for name in names if (old := before.get(name)) != (new := now.get(name))]
        if changed:
            told = [f"{name} {old!r}, the recipe now says {new!r}" for name, old, new in changed]
            raise RunError(
                f"{self.path} was begun with {in_short(told)}: a run is resumed with the recipe that it was begun "
                "with; change it back or name another directory"
            )
        if (known := self.read_labels()) != tuple(labels):
            differing = sorted(set(known) ^ set(labels)) or list(labels)
            raise RunError(
                f"{self.path} was begun with {len(known)} labels, the manifest now gives {len(labels)}, and they "
                f"differ in {differing[0]!r}; name another directory"
            )
        if splits is not None and (moved := self._moved(splits)):
            name, was = moved[0]
            raise RunError(
                f"{self.path} was begun with sample {name!r:.60} in split {was!r:.60}, which is now in "
                f"{splits.get(name, 'none')!r:.60} ({len(moved)} differ): data.split deals out anew when rows are "
                "added or removed; put them back, or name another directory"
            )
        if before == now:  # the user's own word, wherever the run is from
            self._write_mark(self.config.read_bytes())

    def _write_splits(self, splits: Mapping[str, str] | None) -> None:
        if splits is None:
            self.splits.unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("id", "split"), *splits.items()])
        write_text(self.splits, text.getvalue())

    def _moved(self, splits: Mapping[str, str]) -> list[tuple[str, str]]:
        """The samples that were in another split when the run was begun, or are there no more, and those splits."""
        known = read_splits(self.splits) if self.splits.is_file() else dict(splits)
        gone = [(name, split) for name, split in known.items() if splits.get(name) != split]
        return gone or [(name, "none") for name in splits if name not in known]

    def _write_config(self, recipe: Recipe) -> None:
        text = recipe.to_yaml(self.path)
        self._write_mark(text.encode())
        write_text(self.config, text)

    def _write_mark(self, config: bytes) -> None:
        path, mark = self.path / MARK, mark_of(config) + "\n"
        if not path.is_file() or path.read_bytes() != mark.encode():
            write_text(path, mark)

    def write_labels(self, labels: Sequence[str]) -> None:
        write_text(self.labels, json.dumps(list(labels), ensure_ascii=False, indent=0) + "\n")

    def read_labels(self) -> tuple[str, ...]:
        """The labels, in the order of the model's outputs.

        Raises:
            RunError: the file is missing or no list of labels.
        """
        labels = self._read_json(self.labels, list)
        for place, label in enumerate(labels):
            if not isinstance(label, str):
                raise RunError(f"{self.labels}: expected names of labels, got {label!r:.60} at place {place + 1}")
        if twice := [label for label, count in Counter(labels).items() if count > 1]:
            raise RunError(f"{self.labels}: the label {twice[0]!r:.60} is there more than once")
        return tuple(labels)

    def read_summary(self) -> dict[str, Any]:
        """What `fit` returned. Raises `RunError` where the run has not finished, or the file is something else."""
        summary = self._read_json(self.summary, dict)
        for name, kinds in (("monitor", str), ("epoch", int), ("skipped", int)):
            if not isinstance(summary.get(name), kinds):
                came = repr(summary.get(name, "nothing"))[:60]
                raise RunError(f"{self.summary}: expected {name}, a {kinds.__name__}, got {came}")
        missing = summary.get("missing", {})
        if not isinstance(missing, dict) or not all(isinstance(count, int) for count in missing.values()):
            raise RunError(f"{self.summary}: expected 'missing' to be numbers of samples, got {missing!r:.60}")
        for name, value in summary.items():
            if name != "missing" and not isinstance(value, str | int | float | None):
                raise RunError(f"{self.summary}: expected {name!r:.60} to be a number, got {value!r:.60}")
        return dict(summary)

    def read_history(self) -> list[dict[str, float | None]]:
        """The rows of the epochs so far, None where a metric is undefined; none where there is no such file."""
        if not self.history.is_file():
            return []
        with self.history.open(encoding="utf-8", newline="") as file:
            return [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]

    def _read_json(self, path: Path, kind: type) -> Any:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path} holds no {path.name}: expected a run made by `locomt train`") from None
        except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, numbers of thousands of digits
            raise RunError(f"{path}: not valid JSON ({error})") from None
        if not isinstance(value, kind):
            raise RunError(f"{path}: expected a {kind.__name__}, got {value!r:.60}")
        return value

    def export(self, summary: Mapping[str, Any], save: Callable[[Path], object]) -> None:
        """Finish the run: put down the summary, then the model, which `save` writes into the path it is given."""
        write_text(self.summary, json.dumps(dict(summary), indent=2) + "\n")
        with replacing(self.model) as temporary:
            save(temporary)
            for file in filter(Path.is_file, temporary.rglob("*")):
                flush(file)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"model": {"depth": 4}}` -> `{"model.depth": 4}`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
