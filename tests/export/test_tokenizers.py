"""Tokenizers in bundles: read by `tokenizer.json` alone, which has to be all of them."""

import json
from pathlib import Path

import pytest

from locomt.export.write import TEXTS, check_tokenizer
from locomt.require import ConfigError
from locomt.runtime import BundleError
from locomt.runtime.reading import Reader, token_ids
from text_encoders import WORDS, save_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tokenizers" / "title"
    save_encoder("bert", folder)
    return folder


def test_texts_are_read_by_it(folder: Path) -> None:
    check_tokenizer(folder)
    title = {"kind": "text", "column": "title", "max_length": 3, "tokenizer": "tokenizers/title"}
    reader = Reader(folder.parents[1], {"modalities": {"title": title}, "clips": 1, "seconds": None, "crop": None})
    _, ((sample,)), _ = reader.read({"title": "the arrow points up"})
    assert sample["title"].tolist() == [WORDS.index(word) for word in ("the", "arrow", "points")]


def test_what_it_says_of_cutting_and_filling_texts_does_not_count(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    document["truncation"] = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    assert len(token_ids(tmp_path, "the arrow points up")) == 4


def test_what_is_more_than_that_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"cannot be exported: it has no tokenizer\.json"):
        check_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"its tokenizer\.json cannot be read"):
        token_ids(tmp_path, TEXTS[0])
    monkeypatch.setattr("locomt.export.write.token_ids", lambda folder, text: [0])
    with pytest.raises(ConfigError, match=r"transformers makes \[1, 1, 1, 1, 1\], its tokenizer.json \[0\]"):
        check_tokenizer(folder)
