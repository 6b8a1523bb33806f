"""Where each modality's tokens lie in the concatenated sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from locomt.views import check_modalities


class TokenLayout:
    """The modalities' order and token counts: `TokenLayout({"video": 1569, "audio": 401})`.

    The tokens of a fusion layer are the modalities' tokens, [CLS] counted, one modality after the other. A
    length of 0 stands for a modality that the whole batch lacks.

    Raises:
        ValueError: a name cannot serve or a length is negative or no whole number.
    """

    __slots__ = ("lengths", "modalities")

    def __init__(self, lengths: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        pairs = dict(lengths)
        self.modalities: tuple[str, ...] = check_modalities(pairs)
        self.lengths: tuple[int, ...] = tuple(pairs.values())
        for name, length in pairs.items():
            if isinstance(length, bool) or not hasattr(length, "__index__") or length < 0:
                raise ValueError(f"modality {name!r}: expected a token count of 0 or more, got {length!r}")

    @property
    def total(self) -> int:
        """N, the length of the concatenated sequence."""
        return sum(self.lengths)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each modality begins, and at the end N: m + 1 numbers."""
        offsets = [0]
        for length in self.lengths:
            offsets.append(offsets[-1] + length)
        return tuple(offsets)

    def slice(self, modality: str) -> slice:
        """The place of one modality's tokens."""
        index = self.modalities.index(modality)
        return slice(self.offsets[index], self.offsets[index + 1])

    def as_dict(self) -> dict[str, int]:
        return dict(zip(self.modalities, self.lengths, strict=True))

    def __eq__(self, other: Any) -> bool:
        return (
            isinstance(other, TokenLayout)
            and self.as_dict() == other.as_dict()
            and (self.modalities == other.modalities)
        )

    def __hash__(self) -> int:
        return hash((self.modalities, self.lengths))

    def __repr__(self) -> str:
        return f"TokenLayout({self.as_dict()})"
