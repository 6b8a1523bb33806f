"""Where each modality's tokens lie in the concatenated sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from locomt.views import check_modalities
from locomt.views.segments import split


class TokenLayout:
    """The modalities' order and token counts: `TokenLayout({"video": 1569, "audio": 401})`.

    The tokens of a fusion layer are the modalities' tokens, [CLS] counted, one modality after the other. A
    length of 0 stands for a modality that the whole batch lacks.

    Args:
        lengths: tokens of each modality.
        class_tokens: how many of them, at the front, are class tokens, where it is not 1. Views such as `cls` tell
            them from the rest.

    Raises:
        ValueError: a name cannot serve, a length is negative or no whole number, or class tokens are of an unknown
            modality or fewer than 1.
    """

    __slots__ = ("_class_tokens", "lengths", "modalities")

    def __init__(
        self,
        lengths: Mapping[str, int] | Iterable[tuple[str, int]],
        class_tokens: Mapping[str, int] | None = None,
    ) -> None:
        pairs = dict(lengths)
        self.modalities: tuple[str, ...] = check_modalities(pairs)
        self.lengths: tuple[int, ...] = tuple(pairs.values())
        for name, length in pairs.items():
            if isinstance(length, bool) or not hasattr(length, "__index__") or length < 0:
                raise ValueError(f"modality {name!r}: expected a token count of 0 or more, got {length!r}")
        counts = class_tokens or {}
        for name, count in counts.items():
            if name not in pairs:
                raise ValueError(f"class tokens: {name!r} is not one of {', '.join(pairs)}")
            if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
                raise ValueError(f"modality {name!r}: expected 1 class token or more, got {count!r}")
        self._class_tokens: tuple[int, ...] = tuple(counts.get(name, 1) for name in pairs)

    @property
    def class_tokens(self) -> dict[str, int]:
        """How many tokens at the front of each modality are class tokens."""
        return dict(zip(self.modalities, self._class_tokens, strict=True))

    @property
    def segments(self) -> tuple[int, ...]:
        """Two lengths for every modality: of its class tokens and of the rest."""
        return split(self.lengths, self._class_tokens)

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
        return isinstance(other, TokenLayout) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        counts = {name: count for name, count in self.class_tokens.items() if count != 1}
        return f"TokenLayout({self.as_dict()}{f', class_tokens={counts}' if counts else ''})"

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.modalities, self.lengths, self._class_tokens
