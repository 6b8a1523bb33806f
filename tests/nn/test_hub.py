"""Saving and loading: same function, no code, and errors that name the file."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from locomt import FusionConfig, FusionModel
from locomt.nn import AudioSpec, FeatureSpec


@pytest.fixture
def model() -> FusionModel:
    specs = {"sound": AudioSpec(frames=8, mels=8, patch=4), "lips": FeatureSpec(dim=3, max_length=4)}
    views = "self:1 sound~lips:2 self:1"
    return FusionModel(
        FusionConfig(modalities=specs, num_outputs=2, dim=16, heads=4, depth=2, fusion_layers=1, views=views)
    ).eval()


def test_round_trip(model: FusionModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save_pretrained(tmp_path / "model")
    loaded = FusionModel.from_pretrained(tmp_path / "model")
    inputs = model.example_inputs(2)
    assert torch.equal(loaded(inputs), model(inputs))
    assert loaded.config == model.config
    assert not loaded.training
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert capsys.readouterr().out == ""


def test_another_configuration_resizes_positions(model: FusionModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    values = model.config.to_dict()
    values["modalities"]["sound"]["frames"] = 16
    longer = FusionModel.from_pretrained(tmp_path, config=FusionConfig.from_dict(values))
    assert longer(longer.example_inputs(1)).shape == (1, 2)


def test_what_is_not_a_whole_model_is_named(model: FusionModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found no config\.json"):
        FusionModel.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors: not a whole safetensors file"):
        FusionModel.from_pretrained(tmp_path)
    weights.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        FusionModel.from_pretrained(tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match=r"found no model\.safetensors"):
        FusionModel.from_pretrained(tmp_path)


def test_a_config_of_other_sizes_is_named(model: FusionModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"num_outputs": 5}))
    with pytest.raises(ValueError, match=r"do not fit config\.json"):
        FusionModel.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values | {"colour": "red"}))
    with pytest.raises(ValueError, match="unknown field 'colour'"):
        FusionModel.from_pretrained(tmp_path)
