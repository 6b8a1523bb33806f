"""Training once more on the training and validation splits together, as long as validation chose: `train.refit`.

It begins anew, from the same seed and starting points, and ends after as many epochs as the best one had. The schedule
is that of a training of so many epochs: the warm-up of the recipe, at most all of them, then half a cosine down to 0 at
the last step. In the first training the rate was still on its way down at the best epoch, unless that was the last one;
and as an epoch has more samples here, it has more steps. Nothing is left to validate by, so the weights of the last
epoch are kept.

What a training learns of its own samples is found anew: the statistics by which inputs are standardised, the weights of
balanced sampling. What validation decided is kept: the number of epochs; in each epoch, what the losses of single
modalities count, by the validation after the epoch before; in the model, the shares of the modalities and whether each
is looked at with the others missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from locomt.train.recipe import Recipe
from locomt.train.run_directory import RunDirectory


def refit_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe of the second training, for as many epochs."""
    warmup = min(recipe.train.warmup_epochs, epochs)
    train = replace(recipe.train, epochs=epochs, warmup_epochs=warmup, patience=0, refit=False)
    return replace(recipe, train=train)


def refit_directory(run: RunDirectory) -> RunDirectory:
    """Where the second training has its checkpoints and metrics."""
    return RunDirectory(run.path / "refit")


def skills_in(row: Mapping[str, float | None]) -> tuple[dict[str, float], float]:
    """What each modality told by itself after an epoch, and all together, as `metrics.csv` has it."""
    skills = {name.removeprefix("skill/"): value for name, value in row.items() if name.startswith("skill/")}
    return {name: value for name, value in skills.items() if value is not None}, row.get("skill") or 0.0


def caution(recipe: Recipe, split: str) -> str | None:
    """A line where a run's scores on a split are of samples that its model was trained on by `train.refit`."""
    if not recipe.train.refit or split != recipe.data.val_split:
        return None
    return (
        f"the model was trained on split {split!r} too (train.refit): its scores there say nothing of new samples; "
        "those of the training before are in metrics.csv"
    )
