"""Kind `text`: the cell itself, as token ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from locomt.data.errors import DataError
from locomt.data.kinds.source import WHOLE, Excerpt, Sight, Source
from locomt.nn.config import ConfigError, TextSpec
from locomt.require import require

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from locomt.data.shards.storage import Storage, Stored

GUESSED_LENGTH = 256
"""The most tokens that are read where no recipe says how many."""


@dataclass(frozen=True, kw_only=True)
class TextSource(Source):
    """Text as token ids.

    Attributes:
        max_length: at most so many tokens, the first ones.
        tokenizer: `bytes` (UTF-8, no vocabulary needed), or the name or folder of a Hugging Face tokenizer,
            which needs the extra `text`.
        encoder: the name or folder of a transformers model whose states become the tokens, as in `locomt.nn.encoder`;
            without one, embeddings are learned. It brings its tokenizer along unless `tokenizer` names another.
    """

    kind: ClassVar[str] = "text"
    holds: ClassVar[str] = "ids"
    names_file: ClassVar[bool] = False
    token_a_step: ClassVar[bool] = True
    max_length: int
    tokenizer: str = "bytes"
    encoder: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder and self.tokenizer == "bytes":
            object.__setattr__(self, "tokenizer", self.encoder)
        require(self.max_length >= 1, f"max_length: expected 1 or more, got {self.max_length}")

    def spec(self) -> TextSpec:
        """Its vocabulary is that of the tokenizer, which is loaded for this unless it is `bytes`."""
        from locomt.data.tokenizer import vocabulary_size
        from locomt.nn.encoder import encoder_config

        encoder = encoder_config(self.encoder) if self.encoder else None
        vocabulary = vocabulary_size(self.tokenizer)
        try:
            return TextSpec(vocabulary=vocabulary, max_length=self.max_length, encoder=encoder)
        except ConfigError as error:
            raise ConfigError(f"tokenizer {self.tokenizer!r}: {error}") from None

    @property
    def checkpoints(self) -> dict[str, str]:
        """The encoder first: it brings its tokenizer along."""
        named = {"encoder": self.encoder, "tokenizer": self.tokenizer}
        return {field: value for field, value in named.items() if value not in ("", "bytes")}

    def located(self, place: Callable[[str], str]) -> TextSource:
        """A tokenizer without an encoder is named from the working folder and stays as it is."""
        if not self.encoder:
            return self
        return replace(self, encoder=place(self.encoder), tokenizer=place(self.tokenizer))

    @property
    def max_steps(self) -> int:
        return self.max_length

    def read(self, part: str, excerpt: Excerpt = WHOLE) -> list[Int[Tensor, " time"]]:
        return [self.load(part, excerpt.steps)]

    def load(self, text: str, steps: int | None = None) -> Int[Tensor, " time"]:
        """Turn a text into ids.

        Args:
            text: the text itself.
            steps: how many tokens the whole of it must have, where each of them has a label.

        Raises:
            DataError: the text has another number of tokens, or none.
        """
        from locomt.data.tokenizer import tokenize

        ids = tokenize(text, self.tokenizer)
        if steps is not None and len(ids) != steps:
            raise DataError("text", f"expected {steps} tokens, one a label, got {len(ids)} from {text!r:.60}")
        if not len(ids):
            raise DataError("text", f"expected a text, got {text!r:.60}, which has no tokens")
        return ids[: self.max_length]

    def store(self, part: str, storage: Storage) -> Stored:
        """The text as it is; it is read from the row."""
        from locomt.data.shards.storage import Stored

        return Stored([("txt", part.encode("utf-8", errors="replace"))], {})

    @classmethod
    def guess(cls, sight: Sight) -> dict[str, Any] | None:
        """Of what is no number: ages and folds are no texts.

        Raises:
            ValueError: the cells are lists of numbers.
        """
        if not sight.cells or sight.files or all(map(_is_number, sight.cells)):
            return None
        if all(_is_number(part) for cell in sight.cells for part in cell.split(";")):
            raise ValueError(f"holds lists of numbers, such as {sight.cells[0]!r:.40}; save each as a .npy file")
        longest = max(len(cell.encode(errors="replace")) for cell in sight.cells)
        return {
            "max_length": min(GUESSED_LENGTH, 32 * -(-5 * longest // (4 * 32)))
        }  # others may be longer by a quarter


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
