"""Kind `features`: sequences of vectors out of feature files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from locomt.data.kinds.source import WHOLE, Excerpt, Sight, Source
from locomt.nn.config import FeatureSpec

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from locomt.data.shards.part import StoredPart
    from locomt.data.shards.storage import Storage, Stored

GUESSED_LENGTH = 512
"""Vectors of a file that are read where no recipe says how many: attention to more takes long."""


@dataclass(frozen=True, kw_only=True)
class FeatureSource(Source):
    """A sequence of vectors in a .npy, .npz or .safetensors file: `[time, dim]`, or `[dim]` for one step.

    Attributes:
        dim: length of a vector.
        max_length: at most so many of them, the first ones.
        standardise: take each number less its mean, and over its standard deviation, in the training split; the model
            keeps them.
    """

    kind: ClassVar[str] = "features"
    holds: ClassVar[str] = "vectors"
    has_time: ClassVar[bool] = True
    token_a_step: ClassVar[bool] = True
    shaping: ClassVar[tuple[str, ...]] = ("dim", "max_length")
    shorter: ClassVar[tuple[str, ...]] = ("max_length",)
    dim: int
    max_length: int
    standardise: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec()

    def spec(self) -> FeatureSpec:
        return FeatureSpec(dim=self.dim, max_length=self.max_length, standardise=self.standardise)

    @property
    def max_steps(self) -> int:
        return self.max_length

    @classmethod
    def takes(cls, file: Path) -> bool:
        from locomt.data.feature_files import is_feature_file

        return is_feature_file(file)

    def read(self, part: Path | StoredPart, excerpt: Excerpt = WHOLE) -> list[Float[Tensor, "time dim"]]:
        return [self.load(part, excerpt.steps)]

    def load(self, file: Path | StoredPart, steps: int | None = None) -> Float[Tensor, "time dim"]:
        """Read a feature file.

        Args:
            file: the file.
            steps: how many vectors the whole of it must hold, where each of them has a label.

        Raises:
            FeatureError: it does not hold that, or not finite numbers of `dim` columns.
        """
        from locomt.data.feature_files import check_features, read_features

        if isinstance(file, Path):
            return read_features(file, dim=self.dim, max_length=self.max_length, steps=steps)
        features, shape = file.read_features(self.max_length)
        return check_features(str(file), features, shape, dim=self.dim, steps=steps)

    def store(self, part: Path, storage: Storage) -> Stored:
        """The leading vectors, and how many the file holds."""
        import torch

        from locomt.data.feature_files import check_features, leading_vectors, vector_count
        from locomt.data.shards.encoding import encode_array
        from locomt.data.shards.storage import Stored

        found, shape = leading_vectors(part, self.max_length, self.dim)
        features = torch.from_numpy(check_features(part, found, shape, dim=self.dim))
        return Stored([("npy", encode_array(features))], {"total": vector_count(shape)})

    @classmethod
    def guess(cls, sight: Sight) -> dict[str, Any] | None:
        from locomt.data.errors import FeatureError
        from locomt.data.feature_files import leading_vectors, vector_count

        if not any(cls.takes(Path(cell)) for cell in sight.cells):
            return None
        found: dict[int, int] = {}  # the length of vectors -> the most of them in a file
        for file in sight.files:
            try:
                _, shape = leading_vectors(file, 1)
            except FeatureError:
                continue  # reading tells of it
            found[shape[-1]] = max(found.get(shape[-1], 1), vector_count(shape))
        if not found:
            raise ValueError(f"names feature files such as {sight.cells[0]!r}, none of which can be read")
        if len(found) > 1:
            sizes = " and ".join(f"{dim}" for dim in sorted(found)[:2])
            raise ValueError(f"names feature files of vectors of {sizes} numbers; they have to be of one size")
        ((dim, length),) = found.items()
        return {"dim": dim, "max_length": min(length, GUESSED_LENGTH), "standardise": True}
