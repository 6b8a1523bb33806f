"""Text to token ids, by its bytes or by a Hugging Face tokenizer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from locomt.data.errors import DataError
from locomt.files import to_json
from locomt.nn.config import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Int

BYTES = "bytes"
BYTE_VOCABULARY = 257
"""All bytes, and 0 for padding."""


def byte_ids(text: str) -> Int[Tensor, " time"]:
    """The UTF-8 bytes of a text, each 1 higher: 0 is padding. Half a surrogate pair becomes a question mark."""
    return torch.tensor(list(text.encode("utf-8", errors="replace")), dtype=torch.int64) + 1


def vocabulary_size(tokenizer: str) -> int:
    """How many ids there are, padding included.

    Raises:
        ConfigError: there is no such tokenizer, or transformers is not installed.
    """
    if tokenizer == BYTES:
        return BYTE_VOCABULARY
    loaded = _pretrained(tokenizer)
    places: list[int] = list(loaded.get_vocab().values())  # which may have gaps
    return max(len(loaded), 1 + max(places, default=0))


def tokenize(text: str, tokenizer: str = BYTES) -> Int[Tensor, " time"]:
    """A text as ids, untruncated; a pretrained tokenizer adds its special tokens.

    Raises:
        ConfigError: there is no such tokenizer, or transformers is not installed.
        DataError: the tokenizer makes nothing of the text.
    """
    if tokenizer == BYTES:
        return byte_ids(text)
    loaded = _pretrained(tokenizer)
    try:
        return torch.tensor(loaded(text, verbose=False)["input_ids"], dtype=torch.int64)
    except BaseException as error:  # of a word that its vocabulary lacks, say
        if not _is_theirs(error):
            raise
        raise DataError("text", f"tokenizer {tokenizer!r} makes nothing of {text!r:.60}: {error!s:.100}") from None


def save_tokenizer(tokenizer: str, folder: Path) -> None:
    """Write a tokenizer of Hugging Face into a folder, which then serves as its name; where it was, is not told.

    Raises:
        ConfigError: there is no such tokenizer, or transformers is not installed.
    """
    _pretrained(tokenizer).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: value for name, value in values.items() if name not in ("name_or_path", "_name_or_path")}
        path.write_text(to_json(kept, indent=2) + "\n", encoding="utf-8")


@lru_cache(maxsize=8)
def _pretrained(name: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise ConfigError(
            f"tokenizer {name!r} needs transformers: pip install 'locomt[text]', or use tokenizer 'bytes'"
        ) from None
    try:
        with _unheard():
            return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except BaseException as error:
        if not _is_theirs(error):
            raise
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ConfigError(f"expected 'bytes' or the name or folder of a tokenizer, got {name!r}: {reason}") from None


@contextmanager
def _unheard() -> Iterator[None]:
    """What tokenizers' Rust says of a file, panics among it, it writes past `sys.stdout` and `sys.stderr`, as it is."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    with ExitStack() as stack:
        stack.callback(os.close, silent := os.open(os.devnull, os.O_WRONLY))
        for number in (1, 2):
            with suppress(OSError):  # a program without a terminal may have closed them
                stack.callback(os.close, saved := os.dup(number))
                stack.callback(os.dup2, saved, number)
                os.dup2(silent, number)
        yield


def _is_theirs(error: BaseException) -> bool:
    """Whether it can come of a broken file: transformers and tokenizers raise bare exceptions of many kinds, and what
    stands for a panic of tokenizers' Rust is no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
