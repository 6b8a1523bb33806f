"""Validation scores of many view tables on one set of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from locomt.data import ManifestDataset
from locomt.progress import each
from locomt.search.budget import SearchError
from locomt.train.bad import BadSampleLog
from locomt.train.evaluation import Run
from locomt.train.loading import make_loader
from locomt.train.mean_loss import MeanLoss
from locomt.views import ViewTable


@torch.inference_mode()
def validation_scores(run: Run, tables: Sequence[ViewTable], *, device: torch.device) -> list[float]:
    """Score each table on the validation split by `train.monitor`, as training does.

    The split is loaded once. Each batch passes through the model once for each table.

    Raises:
        SearchError: a score is undefined.
        ValueError: too many samples are bad.
    """
    run.check_data()
    recipe, model, own = run.recipe, run.model.to(device).eval(), run.model.table
    assert own is not None
    dataset = ManifestDataset(recipe.data, recipe.data.val_split, run.labels)
    bad = BadSampleLog({recipe.data.val_split: len(dataset)}, recipe.data.max_bad)
    scores = [recipe.data.target.scores(run.labels).to(device) for _ in tables]
    losses = [MeanLoss() for _ in tables]
    loader = make_loader(dataset, recipe)
    for batch in each(f"scoring {len(tables)} {'table' if len(tables) == 1 else 'tables'}", "batches", loader):
        bad.add(recipe.data.val_split, batch.bad)
        if not batch.ids:
            continue
        batch = batch.to(device)
        for table, score, loss in zip(tables, scores, losses, strict=True):
            model.set_views(table)
            logits = model(batch.inputs, batch.lengths)
            score.update(logits, batch.labels)
            loss.update(recipe.data.target.loss(logits, batch.labels), len(batch.ids))
    model.set_views(own)
    found = [
        loss.compute() if recipe.monitor == "loss" else score.compute()["metrics"][recipe.monitor]
        for score, loss in zip(scores, losses, strict=True)
    ]
    values = [float(value) for value in found if value is not None]
    if len(values) < len(tables):
        raise SearchError(
            f"{run.path}: val_{recipe.monitor} is undefined on split {recipe.data.val_split!r}, so that nothing can be "
            "chosen by it; set train.monitor to another metric"
        )
    return values
