"""`preprocessor_config.json`: what it says in all its forms, and damaged ones by file and field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from locomt.nn.config import ConfigError
from locomt.nn.preprocessing import Pictures, Sound, read_preprocessing

KINDS = {"vit": "vit", "ast": "audio-spectrogram-transformer"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    def make(kind: str, processor: dict[str, Any] | str) -> Path:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": KINDS.get(kind, kind)}))
        text = processor if isinstance(processor, str) else json.dumps(processor)
        (tmp_path / "preprocessor_config.json").write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("processor", "size"),
    [
        ({"size": 384}, (384, 384)),
        ({"size": [224, 200]}, (224, 200)),
        ({"size": {"height": 224, "width": 200}}, (224, 200)),
        ({"size": {"shortest_edge": 256}}, (256, 256)),
        ({"size": 256, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}, (224, 224)),
        ({"size": 256, "do_center_crop": False, "crop_size": 224}, (256, 256)),
        ({}, None),
    ],
)
def test_sizes_of_pictures(
    checkpoint: Callable[..., Path], processor: dict[str, Any] | str, size: tuple[int, int] | None
) -> None:
    assert read_preprocessing(checkpoint("vit", processor)) == Pictures(size=size)


def test_normalisation_of_pictures(checkpoint: Callable[..., Path]) -> None:
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": 0.5, "rescale_factor": 0.01}
    found = read_preprocessing(checkpoint("vit", processor))
    assert found == Pictures(scale=0.01, mean=(0.1, 0.2, 0.3), std=(0.5,))
    off = {"do_normalize": False, "do_rescale": False, "image_mean": [9, 9, 9]}
    assert read_preprocessing(checkpoint("vit", off)) == Pictures(scale=1.0, mean=(0.0,), std=(1.0,))


def test_sound(checkpoint: Callable[..., Path]) -> None:
    processor = {"sampling_rate": 8000, "num_mel_bins": 64, "max_length": 512, "mean": -3, "std": 2.5}
    assert read_preprocessing(checkpoint("ast", processor)) == Sound(8000, 64, 512, -3.0, 5.0)
    found = read_preprocessing(checkpoint("ast", {}))
    assert found == Sound(16000, 128, 1024, -4.2677393, 9.1379948)  # as transformers fills them in
    assert read_preprocessing(checkpoint("ast", processor | {"do_normalize": False})) == Sound(8000, 64, 512, 0.0, 1.0)


def test_a_checkpoint_that_does_not_say(checkpoint: Callable[..., Path]) -> None:
    assert read_preprocessing(checkpoint("bert", {"size": "x"})) is None
    folder = checkpoint("ast", {})
    (folder / "preprocessor_config.json").unlink()
    assert read_preprocessing(folder) is None


@pytest.mark.parametrize(
    ("kind", "processor", "message"),
    [
        ("ast", "{", "not valid JSON"),
        ("ast", "[1]", r"expected a JSON object, got \[1\]"),
        ("ast", {"sampling_rate": "16000"}, "sampling_rate: expected a whole number from 1 to .*, got '16000'"),
        ("ast", {"sampling_rate": 0}, "sampling_rate: "),
        ("ast", {"num_mel_bins": 10**12}, "num_mel_bins: "),
        ("ast", {"max_length": 1024.5}, "max_length: "),
        ("ast", '{"mean": NaN}', "mean: expected a number within 1,000,000, got nan"),
        ("ast", {"std": 0}, "std: expected a number above 0"),
        ("ast", '{"std": Infinity}', "std: "),
        ("ast", {"do_normalize": "yes"}, "do_normalize: expected true or false"),
        ("vit", {"image_mean": "x"}, "image_mean: "),
        ("vit", {"image_mean": [0.5, 0.5]}, "image_mean: expected a number, or 3 of them"),
        ("vit", {"image_std": [0.5, 0.5, 0]}, "image_std: "),
        ("vit", {"image_std": [0.5, None, 0.5]}, "image_std: "),
        ("vit", {"rescale_factor": [1]}, "rescale_factor: "),
        ("vit", {"size": {"height": 10**9, "width": 4}}, "size: expected pixels"),
        ("vit", {"size": {"longest_edge": 4}}, "size: expected pixels"),
        ("vit", {"size": True}, "size: "),
    ],
)
def test_damaged_files_are_named_with_their_field(
    checkpoint: Callable[..., Path], kind: str, processor: dict[str, Any] | str, message: str
) -> None:
    folder = checkpoint(kind, processor)
    with pytest.raises(ConfigError, match=rf"^{folder}/preprocessor_config\.json: {message}"):
        read_preprocessing(folder)
