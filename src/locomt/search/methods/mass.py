"""Conversion of a dense model: choose the views that keep most of its attention, then fine-tune briefly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Subset

from locomt.cost.knapsack import choose, need_solver
from locomt.data import ManifestDataset
from locomt.files import to_json, write_text
from locomt.nn.model import FusionModel
from locomt.search.budget import SearchError
from locomt.search.candidate import Candidate
from locomt.search.starting_run import load_fitting
from locomt.search.work import Work
from locomt.train.attention_mass import AttentionMass, measure_mass
from locomt.train.evaluation import Run, evaluate
from locomt.train.loading import make_loader
from locomt.train.recipe import Recipe
from locomt.train.runs import device_of
from locomt.train.start import fill_from_run
from locomt.views import MULTI, LayerViews, ViewTable

MASS = "mass.json"
SAMPLES = 1024  # more would hardly change the mean
PASS = 3
"""The cost of training on a sample, in forward passes: the backward pass costs two."""


def run(work: Work) -> None:
    """Convert a dense model of each seed. If one model is given, convert it and fine-tune with every seed."""
    need_solver()
    seeds, source = work.question.all_seeds, work.question.source
    measured = []
    for dense, own in [(source, seeds)] if source else zip(work.dense(seeds), ([seed] for seed in seeds), strict=True):
        candidate, mass = _convert(work, dense, "mass" if source else f"mass {own[0]}")
        measured.append(mass.mean.tolist())
        work.train([candidate], own)
    names = list(work.space.modalities)
    write_text(work.out / MASS, to_json({"modalities": names, "blocks": measured}) + "\n")


def _convert(work: Work, dense: Path, name: str) -> tuple[Candidate, AttentionMass]:
    """Convert one model. Mass is measured on the training split, since the validation split chooses the table."""
    source = load_fitting(dense, work.space.config)
    samples = _spread(work.recipe, source)
    need_dense(source.model)
    mass = measure_mass(source.model, make_loader(samples, work.recipe), device_of(work.recipe))
    work.ledger.other_runs += work.in_runs(len(samples) / PASS)
    table = choose_table(work, mass)
    kept = mass.kept(work.space.views).numpy()
    recipe = work.tuned(table, dense)
    places = {view: number for number, view in enumerate(work.space.views)}
    held = [
        kept[layer, head, places[view]] for layer, row in enumerate(table.layers) for head, view in enumerate(row.heads)
    ]
    facts = {"mass_kept": float(np.mean(held)), "before_finetuning": _converted_score(recipe, source, dense)}
    return Candidate(table=table, names=(name,), recipe=recipe, facts=facts), mass


def need_dense(model: FusionModel) -> None:
    """Refuse a model with a head that does not see everything: what it would look at outside of its view, nobody knows.

    Raises:
        SearchError: the model is not a Multiall.
    """
    table = model.table
    if table is None or any(view != MULTI for layer in table.layers for view in layer.heads):
        raise SearchError(
            f"attention mass is measured where every head sees everything: expected a model of fusion 'multiall', got "
            f"{model.config.fusion!r}"
        )


def choose_table(work: Work, mass: AttentionMass) -> ViewTable:
    """The table within the budget that keeps the most mass, on average over all heads."""
    space = work.space
    values = mass.kept(space.views).flatten(0, 1).numpy()
    costs = [list(space.prices(layer).values()) for layer in range(space.layers) for _ in range(space.heads)]
    chosen = iter(choose(values, costs, work.limit))
    rows = [tuple(space.views[next(chosen)] for _ in range(space.heads)) for _ in range(space.layers)]
    return ViewTable(tuple(LayerViews(space.modalities, row) for row in rows))


def _spread(recipe: Recipe, source: Run) -> Subset[Any]:
    """Training samples, spread evenly over the manifest."""
    dataset = ManifestDataset(recipe.data, recipe.data.train_split, source.labels)
    count = min(SAMPLES, len(dataset))
    return Subset(
        dataset, [place * len(dataset) // count for place in range(count)]
    )  # the manifest may be sorted by class


def _converted_score(recipe: Recipe, source: Run, folder: Path) -> float | None:
    """The validation score right after conversion; None if the loss is monitored, which is no score."""
    model = FusionModel(recipe.fusion_config(source.labels))
    fill_from_run(model, folder)
    run = Run(folder, recipe, model.eval(), source.labels)
    scores = evaluate(run, recipe.data.val_split, device=device_of(recipe))["metrics"]
    return None if recipe.monitor == "loss" else scores[recipe.monitor]
