"""Configurations from anybody: values of other types and sizes beyond reason are refused by field, before all else."""

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from locomt import FusionConfig, FusionModel
from locomt.cost import parameters
from locomt.nn import AudioSpec, FeatureSpec, TextSpec, VideoSpec
from locomt.nn.config import ConfigError
from locomt.views import ViewError, ViewTable

VALUES = FusionConfig(
    modalities={"video": VideoSpec(frames=4, size=32), "audio": AudioSpec(frames=112, mels=32)},
    dim=16,
    heads=2,
    depth=2,
    fusion_layers=1,
    num_outputs=2,
).to_dict()


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a tensor is made."""

    def make(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a tensor was allocated")

    for name in ("empty", "zeros", "ones"):
        monkeypatch.setattr(torch, name, make)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 1_000_000}, r"^model\.depth: expected at most 1,024, got 1,000,000: that fits no machine"),
        ({"dim": 2_000_000}, r"^model\.dim: expected at most 65,536, got 2,000,000"),
        ({"heads": 4096, "dim": 4096}, r"^model\.heads: expected at most 1,024"),
        ({"dim": 65536, "depth": 1000, "heads": 64}, r"^model of [\d,]+ parameters, [\d,]+ GiB in float32: that fits"),
        ({"heads": "2"}, r"^model\.heads: expected int, got '2'"),
        ({"heads": True}, r"^model\.heads: expected int, got True"),
        ({"dim": 16.0}, r"^model\.dim: expected int, got 16\.0"),
        ({"depth": 10**30}, r"^model\.depth: expected int"),
        ({"mlp_ratio": float("inf")}, r"^model\.mlp_ratio: expected float, got inf"),
        ({"norm_eps": float("nan")}, r"^model\.norm_eps: expected float, got nan"),
        ({"steps": 5}, r"steps: expected tuple\[str, \.\.\.\], got 5"),
        ({"pace": {"video": "x"}, "time_steps": 3}, r"pace: expected Mapping\[str, float\]"),
        ({"num_outputs": 10**12}, r"^num_outputs: expected at most"),
        ({"time_steps": 10**12}, r"^time_steps: expected at most"),
        ({"modalities": []}, r"^modalities: expected name"),
        ({"modalities": {"a": 5}}, r"^modality 'a': expected \{kind"),
        ({"modalities": {"a": {"kind": ["video"]}}}, r"^modality 'a': expected kind video"),
        ({"modalities": {"a": {"kind": "video", "size": "x"}}}, r"^video size: expected int, got 'x'"),
        (
            {"modalities": {"a": {"kind": "features", "dim": 2**40, "max_length": 2}}},
            r"^features dim: expected at most",
        ),
        ({"modalities": {f"m{n}": {"kind": "audio"} for n in range(99)}}, "^expected at most 63 modalities, got 99"),
        ({"views": "self:4000000000"}, r"^model\.views: line 1: expected at most 1,024 heads of a layer"),
        ({"views": "self:" + "9" * 6000}, r"^model\.views: line 1: expected at most 1,024 heads"),
        ({"views": "self:1\n" * 2000}, r"expected at most 1,024 fusion layers, got 2,000"),
    ],
)
def test_impossible_values_are_refused_by_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        FusionConfig.from_dict(VALUES | change)
    assert isinstance(caught.value, ConfigError | ViewError)
    assert len(str(caught.value)) < 400


def test_what_is_no_configuration() -> None:
    for values in (None, 5, [1], "x"):
        with pytest.raises(ConfigError, match="configuration: expected fields and their values"):
            FusionConfig.from_dict(values)


def test_the_largest_models_that_were_trained_pass() -> None:
    video = {"video": VideoSpec(frames=32, size=224, patch=14)}
    config = FusionConfig(
        modalities=video, dim=6144, heads=48, depth=48, fusion_layers=1, fusion="selfall", num_outputs=1000
    )
    assert 21e9 < parameters(config) < 23e9  # ViT-22B
    deep = {"dim": 512, "heads": 8, "depth": 1000, "fusion_layers": 1000, "num_outputs": 2}  # DeepNet
    both = video | {"title": TextSpec(vocabulary=256_000, max_length=8192)}
    assert len(FusionConfig(modalities=both, **deep).view_table().layers) == 1000


def test_a_table_that_fills_a_machine_is_refused_before_it_is_made() -> None:
    names = tuple(f"m{n}" for n in range(63))
    for make in (
        lambda: ViewTable.strategy("spread", names, layers=1024, heads=1024),
        lambda: ViewTable.parse("self:1024\n" * 1024, names),
    ):
        with pytest.raises(ViewError, match="such a table fits no machine"):
            make()


def test_a_configuration_that_asks_for_more_than_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"sound": FeatureSpec(dim=3, max_length=4)}
    sizes = {"dim": 16, "heads": 4, "depth": 2, "fusion_layers": 1, "fusion": "selfall"}
    FusionModel(FusionConfig(modalities=spec, num_outputs=2, **sizes)).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"dim": 16384}))

    def make(*_: object) -> NoReturn:
        raise AssertionError("the model was made")

    monkeypatch.setattr(FusionModel, "__init__", make)
    with pytest.raises(
        ConfigError, match=r"describes 6,443,\d{3},\d{3} parameters \(24\.\d GiB\), while the file holds"
    ):
        FusionModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "expected a JSON object"),
        ('{"dim":', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
        ('{"dim": "4"}', "model\\.dim: expected int"),
    ],
)
def test_a_damaged_config_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/config\.json: {message}"):
        FusionModel.from_pretrained(tmp_path)
