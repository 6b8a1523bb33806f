"""Statistics of the training split, by which a model standardises what goes into it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from locomt.data import DataError, ManifestDataset
from locomt.faults import tell_of_machine
from locomt.nn.model import FusionModel
from locomt.nn.standard import Standard
from locomt.train.config import RecipeError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Moments:
    """Mean and standard deviation of vectors that come a few at a time, in float64 (Chan et al., 1979).

    Attributes:
        count: vectors so far.
        mean: `[width]`, of them.
    """

    def __init__(self, width: int) -> None:
        self.count, self.mean = 0, torch.zeros(width, dtype=torch.float64)
        self._squares = torch.zeros_like(self.mean)

    def add(self, vectors: Float[Tensor, "some width"]) -> None:
        """Some more, one at least."""
        exact, total = vectors.double(), self.count + len(vectors)
        mean = exact.mean(dim=0)
        apart = mean - self.mean
        self._squares += (exact - mean).square().sum(dim=0) + apart.square() * (self.count * len(exact) / total)
        self.mean += apart * (len(exact) / total)
        self.count = total

    @property
    def std(self) -> Float[Tensor, " width"]:
        """Over all of them, not one fewer."""
        return (self._squares / max(1, self.count)).sqrt()


def standards_of(model: FusionModel) -> dict[str, Standard]:
    """Modality -> what standardises its inputs, of those that are."""
    found = {name: getattr(model.embeddings[name], "standard", None) for name in model.config.modalities}
    return {name: standard for name, standard in found.items() if isinstance(standard, Standard)}


def fill_standards(model: FusionModel, dataset: ManifestDataset, *, but: Collection[str] = ()) -> None:
    """Give a model the statistics of a training split: of the steps of all samples, without augmentation.

    With `data.crop` they are those of the crops in the middle. Samples that cannot be read have no share in them.

    Args:
        model: in place.
        dataset: the training split.
        but: modalities that keep those they have.

    Raises:
        RecipeError: no sample has the modality.
    """
    for name, standard in standards_of(model).items():
        if name in but:
            continue
        moments = Moments(len(standard.mean))
        for index in range(len(dataset)):
            try:
                found = dataset.modality(index, name)
            except (DataError, OSError) as error:
                tell_of_machine(error)
                continue  # training tells of it
            if found is not None:
                moments.add(found)
        if not moments.count:
            raise RecipeError(
                f"data.modalities.{name}.standardise: expected samples of split {dataset.config.train_split!r} that "
                "have it, got none that can be read"
            )
        standard.set(moments.mean, moments.std)
