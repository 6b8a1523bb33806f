"""Using a finished run: its model on a split, or on files. Needs no Lightning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from locomt import progress
from locomt.data import BadSample, Batch, ManifestDataset, average_clips
from locomt.data.dataset import File
from locomt.data.dealing import read_rows
from locomt.data.splits import others_there
from locomt.nn.model import FusionModel
from locomt.train.bad import BadSampleLog
from locomt.train.ensemble import read_members
from locomt.train.loading import make_loader
from locomt.train.origin import refusal, trusting
from locomt.train.overrides import parse_overrides
from locomt.train.predictor import Predictor, best_device
from locomt.train.recipe import Recipe
from locomt.train.recipe_file import read_recipe
from locomt.train.refit import caution
from locomt.train.run_directory import RunDirectory, RunError, flatten

__all__ = ["Run", "answers", "best_device", "evaluate", "predict"]


@dataclass(frozen=True)
class Run:
    """A finished run, or several that answer together by the mean of what they say.

    Attributes:
        path: its directory.
        recipe: what it was trained with; of several runs, the first one.
        model: the exported model, ready for inference; of several runs, that of the first.
        labels: the names of the model's outputs; empty for regression.
        reaching: what somebody else's run names outside of its folder, by field; see `locomt.train.origin`.
        together: the runs, where there are several.
    """

    path: Path
    recipe: Recipe
    model: FusionModel
    labels: tuple[str, ...]
    reaching: Mapping[str, str] = field(default_factory=dict)
    together: tuple[Run, ...] = ()

    @property
    def members(self) -> tuple[Run, ...]:
        """The runs that answer: this one, or all of several, each by itself with its own directory."""
        return self.together or (self,)

    @property
    def predictor(self) -> Predictor:
        """The model with what it takes to answer files."""
        if self.together:
            first, *others = (run.predictor for run in self.together)
            return replace(first, others=tuple(others))
        train = self.recipe.train
        return Predictor(RunDirectory(self.path).model, self.model, self.recipe.data, self.labels, train.batch_size)

    def check_data(self) -> None:
        """Raises `RunError` where a run of somebody else would have data read that lie outside of its folder."""
        for name in ("data.manifest", "data.allow_outside"):
            if name in self.reaching:
                raise RunError(refusal(RunDirectory(self.path).config, name, self.reaching[name]))

    @classmethod
    def load(cls, run_dir: str | Path, overrides: str | Sequence[str] = (), *, trust: bool = False) -> Run:
        """Load a run from its directory.

        Args:
            run_dir: what `locomt train` wrote.
            overrides: as for `load_recipe`: another manifest to evaluate on, say.
            trust: follow the names of tokenizers, encoders and data in a run that somebody else began.

        Raises:
            RunError: the directory holds no run or one that has not finished, the overrides ask for another
                model than was trained, or somebody else's run names a tokenizer or an encoder outside of its folder.
        """
        run = RunDirectory(Path(run_dir))
        if members := read_members(run.path):
            runs = [cls.load(member, overrides, trust=trust) for member in members]
            return runs[0] if len(runs) == 1 else cls._together(run.path, runs)
        if not run.holds_run:
            raise RunError(f"{run.path} holds no run: expected a directory that `locomt train` made")
        if not run.finished:
            raise RunError(f"the run in {run.path} has not finished; go on with `locomt train ... --resume`")
        with trusting(trust):
            recipe, reaching = read_recipe(run.config, overrides)
        for name, value in reaching.items():
            if name.startswith("data.modalities."):
                raise RunError(refusal(run.config, name, value))
        recipe = _as_dealt(run, recipe, overrides)
        model, labels = FusionModel.from_pretrained(run.model), run.read_labels()
        if recipe.train.view_training.changes:  # training set the table that the model has
            recipe = replace(recipe, model=replace(recipe.model, views=model.config.views))
        trained, asked = (flatten(c.to_dict()) for c in (model.config.untrained(), recipe.fusion_config(labels)))
        for name in sorted(trained.keys() | asked.keys()):
            if trained.get(name) != asked.get(name):
                raise RunError(
                    f"the model in {run.model} has {name} {trained.get(name)!r}, the recipe asks for "
                    f"{asked.get(name)!r}; a trained model is used as it was trained"
                )
        return cls(run.path, recipe, model.eval(), labels, reaching)

    @classmethod
    def _together(cls, path: Path, runs: Sequence[Run]) -> Run:
        first = runs[0]
        for run in runs[1:]:
            if run.labels != first.labels or replace(run.recipe.data, split=None) != replace(
                first.recipe.data, split=None
            ):
                raise RunError(f"{path}: expected runs of the same data and labels, got {first.path} and {run.path}")
        return cls(path, first.recipe, first.model, first.labels, first.reaching, tuple(runs))


def _as_dealt(run: RunDirectory, recipe: Recipe, overrides: str | Sequence[str]) -> Recipe:
    """The recipe with each sample in the split that it had in training, whatever the manifest has become since. Of
    another manifest, its column `split` says it.

    Raises:
        RunError: the overrides would have samples dealt out anew.
    """
    split, given = recipe.data.split, [name for name, _ in parse_overrides(overrides)]
    if split is None:
        return recipe
    if anew := [name for name in given if f"{name}.".startswith(("data.split.", "data.group."))]:
        raise RunError(f"--{anew[0]}: {run.path} keeps the splits that it was trained with, in {run.splits.name}")
    if "data.manifest" in given:
        return replace(recipe, data=replace(recipe.data, split=None))
    return replace(recipe, data=replace(recipe.data, split=replace(split, table=str(run.splits))))


@torch.inference_mode()
def answers(
    run: Run,
    split: str | None = None,
    *,
    device: torch.device | str | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Batch, Tensor]]:
    """The batches of a split in the manifest's order, and the logits of each: a row a sample, averaged over its crops.

    Arguments and errors as for `evaluate`. A batch of bad samples alone comes with no rows.
    """
    run.check_data()
    data, device = run.recipe.data, device or best_device()
    split = split or data.test_split
    dataset = ManifestDataset(data, split, run.labels, clips=data.clips)
    if not len(dataset):
        there = others_there(split, (row.split for row in read_rows(data)))
        raise ValueError(f"{data.manifest}: no row has split {split!r}; {there}")
    bad = BadSampleLog({split: len(dataset)}, data.max_bad)
    model = run.predictor.answering(device)
    loader = make_loader(dataset, run.recipe)
    samples = 0
    with progress.stage(f"scoring {split}", "samples", len(dataset)) as seen:
        for step, batch in enumerate(loader, start=1):
            logits = torch.empty(0)
            if batch.ids:
                batch = batch.to(device)
                logits = average_clips(model(batch.inputs, batch.lengths).float(), batch.clips)
            samples += len(batch.ids)
            yield batch, logits
            bad.add(split, batch.bad)  # once they have been told: it may be one too many
            seen.add(len(batch.ids) + len(batch.bad))
            if on_step:
                on_step(step, len(loader))
    if not samples:
        raise ValueError(f"not one sample of split {split!r} could be read")


@torch.inference_mode()
def evaluate(
    run: Run,
    split: str | None = None,
    *,
    device: torch.device | str | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_bad: Callable[[BadSample], None] | None = None,
    on_answers: Callable[[Batch, Tensor], None] | None = None,
) -> dict[str, Any]:
    """Score a run's model on a split, the logits of each sample averaged over its `data.clips` crops.

    Args:
        run: the run.
        split: as the manifest names it; the recipe's `data.test_split` when left out.
        device: `best_device()` when left out.
        on_step: told the batches done and the batches in all.
        on_bad: told every sample that could not be read.
        on_answers: told every batch that holds samples, and the logits of each of them.

    Returns:
        `{"metrics": {...}, "per_class": {...}, "samples": n, "skipped": n}`; skipped samples could not be read
        and are not among the samples. Where samples went without a modality because their files lack it and the recipe
        says so, `missing` maps it to their number. Where `train.refit` has trained on the split, `caution` says so.

    Raises:
        ValueError: the split has no rows, or more of them are bad than `data.max_bad` allows.
    """
    device = device or best_device()
    scores = run.recipe.data.target.scores(run.labels).to(device)
    samples = skipped = 0
    missing: Counter[str] = Counter()
    for batch, logits in answers(run, split, device=device, on_step=on_step):
        if on_bad:
            for sample in batch.bad:
                on_bad(sample)
        skipped += len(batch.bad)
        missing.update({name: len(ids) for name, ids in batch.missing.items()})
        if batch.ids:
            scores.update(logits, batch.labels)
            if on_answers:
                on_answers(batch, logits)
            samples += len(batch.ids)
    more: dict[str, Any] = {"missing": dict(missing)} if missing else {}
    if line := caution(run.recipe, split or run.recipe.data.test_split):
        more["caution"] = line
    return {**scores.compute(), "samples": samples, "skipped": skipped, **more}


def predict(
    run: Run,
    items: File | Iterable[File],
    *,
    top: int = 5,
    device: torch.device | str | None = None,
) -> list[dict[str, Any]]:
    """Labels for files, as `Predictor.predict` gives them."""
    return run.predictor.predict(items, top=top, device=device)
