"""Text: bytes, or the tokenizer of a pretrained model."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from transformers import PreTrainedTokenizerFast

from locomt.data import DataError, TextSource
from locomt.data.tokenizer import byte_ids, tokenize, vocabulary_size
from locomt.nn.config import ConfigError
from text_encoders import save_encoder


@given(text=st.text())
def test_bytes_can_be_read_back(text: str) -> None:
    ids = byte_ids(text)
    assert ids.dtype == torch.int64
    assert bytes((ids - 1).tolist()).decode() == text
    assert ids.numel() == 0 or (ids.min() >= 1 and ids.max() < vocabulary_size("bytes"))


def test_half_a_surrogate_pair() -> None:
    assert byte_ids("a\ud800b").tolist() == byte_ids("a?b").tolist()


def test_source_keeps_the_first_tokens() -> None:
    source = TextSource(column="title", max_length=4)
    assert source.load("käse").tolist() == [b + 1 for b in "käse".encode()[:4]]
    assert source.load("ab", 2).tolist() == [98, 99]
    with pytest.raises(DataError, match="expected 3 tokens, one a label, got 2"):
        source.load("ab", 3)
    with pytest.raises(DataError, match="which has no tokens"):
        source.load("")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pretrained tokenizer, as transformers saves them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"[UNK]": 0, "hello": 1, "world": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    path = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(path)
    return path


def test_a_pretrained_tokenizer(folder: Path) -> None:
    assert tokenize("hello big world", str(folder)).tolist() == [1, 0, 2]
    source = TextSource(column="title", max_length=2, tokenizer=str(folder))
    assert source.spec().vocabulary == 3
    assert source.load("world hello hello").tolist() == [2, 1]


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 'bytes' or the name or folder of a tokenizer, got"):
        vocabulary_size(str(tmp_path / "nothing"))


def test_no_code_is_run_from_a_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        '{"auto_map": {"AutoTokenizer": ["trap.Trap", null]}, "tokenizer_class": "Trap"}'
    )
    (tmp_path / "trap.py").write_text("raise SystemExit('code was run')\n")
    with pytest.raises(ConfigError):
        vocabulary_size(str(tmp_path))


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'locomt\[text\]'"):
        vocabulary_size("some-tokenizer")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer.json", lambda text: text[: len(text) // 2]),
        ("tokenizer.json", lambda text: "[]"),
        ("tokenizer.json", lambda text: "\0\0"),
        ("tokenizer.json", lambda text: text.replace('"left": 2', '"left": "two"')),
        ("tokenizer_config.json", lambda text: "[1]"),
        ("tokenizer_config.json", lambda text: json.dumps(json.loads(text) | {"tokenizer_class": 5})),
        ("tokenizer_config.json", lambda text: json.dumps(json.loads(text) | {"added_tokens_decoder": {"a": 5}})),
    ],
)
def test_damaged_tokenizers_are_named(tmp_path: Path, name: str, change: Callable[[str], str]) -> None:
    save_encoder("bert", tmp_path / "words")
    path = tmp_path / "words" / name
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    with pytest.raises(ConfigError, match=f"^expected 'bytes' or .* got '{tmp_path}/words': .") as caught:
        vocabulary_size(str(tmp_path / "words"))
    assert "\n" not in str(caught.value)


def save_pairs(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """A tokenizer of pairs of letters, and what is changed in its file."""
    pairs = Tokenizer(BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))
    PreTrainedTokenizerFast(tokenizer_object=pairs).save_pretrained(folder)
    values = json.loads((folder / "tokenizer.json").read_text())
    change(values)
    (folder / "tokenizer.json").write_text(json.dumps(values))
    return str(folder)


def test_a_panic_of_the_tokenizers_library_is_an_error_by_name(tmp_path: Path) -> None:
    tokenizer = save_pairs(tmp_path / "t", lambda values: values["model"].update(continuing_subword_prefix="##long"))
    with pytest.raises(ConfigError, match=f"name or folder of a tokenizer, got '{tokenizer}': range end index"):
        vocabulary_size(tokenizer)


def test_nothing_of_a_tokenizer_reaches_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tokenizer = save_pairs(tmp_path / "t", lambda values: None)
    path = tmp_path / "t" / "tokenizer_config.json"
    token = {"content": "[X]", "\x1b[31mred": True, "single_word": False}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_tokens_decoder": {"3": token}}))
    print("before", flush=False)
    assert vocabulary_size(tokenizer) == 4
    print("after")
    assert capfd.readouterr() == ("before\nafter\n", "")


def test_a_vocabulary_beyond_all_reason_names_its_tokenizer(tmp_path: Path) -> None:
    tokenizer = save_pairs(tmp_path / "t", lambda values: values["model"]["vocab"].update(b=4 * 10**9))
    with pytest.raises(ConfigError, match=f"^tokenizer '{tokenizer}': text vocabulary: .* got 4,000,000,001"):
        TextSource(column="title", max_length=4, tokenizer=tokenizer).spec()


def test_no_code_of_a_tokenizer_is_run(tmp_path: Path) -> None:
    save_encoder("bert", tmp_path / "words")
    folder, flag = tmp_path / "words", tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(flag)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert tokenize("left right", str(folder)).tolist() == [2, 3]  # by tokenizer.json, which is data
    assert not flag.exists()


def test_a_text_of_which_a_tokenizer_makes_nothing_is_bad_by_itself(tmp_path: Path) -> None:
    words = Tokenizer(WordLevel({"left": 0, "right": 7}, unk_token="[UNK]"))  # which the vocabulary lacks
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path / "words")
    assert vocabulary_size(str(tmp_path / "words")) == 8  # with gaps
    assert tokenize("right", str(tmp_path / "words")).tolist() == [7]
    with pytest.raises(DataError, match="makes nothing of 'up'"):
        tokenize("up", str(tmp_path / "words"))
