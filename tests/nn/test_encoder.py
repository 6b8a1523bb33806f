"""Text encoders against the library's own models: states, padding, weights, and folders that hold none."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from locomt import FusionConfig, FusionModel
from locomt.nn import FeatureSpec, TextSpec
from locomt.nn.config import ConfigError
from locomt.nn.encoder import build_encoder, encoder_config
from locomt.nn.pretrained import fill_towers
from text_encoders import CONFIGS, save_encoder


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Path]:
    path = tmp_path_factory.mktemp(request.param)
    return save_encoder(request.param, path), path


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Path]:
    path = tmp_path_factory.mktemp("bert")
    return save_encoder("bert", path), path


def make(folder: Path, dim: int = 16, **options: Any) -> FusionModel:
    specs = {
        "title": TextSpec(vocabulary=8, max_length=12, encoder=encoder_config(str(folder))),
        "lips": FeatureSpec(dim=3, max_length=4),
    }
    torch.manual_seed(1)
    options = {"dim": dim, "heads": 2, "depth": 3, "fusion_layers": 1, "num_outputs": 2} | options
    return FusionModel(FusionConfig(modalities=specs, **options)).eval()


@torch.no_grad()
@pytest.mark.parametrize("dim", [16, 24])
def test_the_states_of_the_tokens_enter_the_fusion_layers(encoder: tuple[PreTrainedModel, Path], dim: int) -> None:
    theirs, folder = encoder
    model = make(folder, dim)
    fill_towers(model, {"title": folder})
    ids = torch.randint(0, 8, (2, 9))
    states = theirs(input_ids=ids).last_hidden_state
    project = model.embeddings["title"].project.project
    assert isinstance(project, torch.nn.Identity if dim == 16 else torch.nn.Linear)
    seen = []
    model.fusion[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]["title"]))
    model({"title": ids})
    torch.testing.assert_close(seen[0][:, 1:], project(states) + model.embeddings["title"].positions[:9])
    assert not model.embeddings["title"].positions.any()
    assert (len(model.towers["title"]), len(model.towers["lips"])) == (0, 2)


@torch.no_grad()
def test_a_padded_text_is_the_text_alone(encoder: tuple[PreTrainedModel, Path]) -> None:
    _, folder = encoder
    model = make(folder)
    fill_towers(model, {"title": folder})
    inputs = {"title": torch.randint(1, 8, (3, 12)), "lips": torch.randn(3, 4, 3)}
    lengths = {"title": torch.tensor([12, 5, 0]), "lips": torch.tensor([4, 2, 4])}
    out = model(inputs, lengths)
    for b in range(3):
        alone = {name: inputs[name][b : b + 1, : lengths[name][b]] for name in inputs if lengths[name][b]}
        torch.testing.assert_close(out[b : b + 1], model(alone), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient(encoder: tuple[PreTrainedModel, Path]) -> None:
    _, folder = encoder
    model = make(folder, dim=24)
    model(model.example_inputs(2), {"title": torch.tensor([12, 0])}).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


@torch.no_grad()
def test_saved_models_hold_their_encoder(encoder: tuple[PreTrainedModel, Path], tmp_path: Path) -> None:
    _, folder = encoder
    model = make(folder)
    fill_towers(model, {"title": folder})
    model.save_pretrained(tmp_path / "model")
    loaded = FusionModel.from_pretrained(tmp_path / "model")
    inputs = model.example_inputs(2)
    assert torch.equal(loaded(inputs), model(inputs))
    assert loaded.config == model.config


def test_weights_in_several_files(bert: tuple[PreTrainedModel, Path], tmp_path: Path) -> None:
    theirs, folder = bert
    theirs.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    model = make(folder)
    fill_towers(model, {"title": tmp_path})
    ours = model.embeddings["title"].project.encoder.state_dict()
    assert ours
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.items())
    next(iter(tmp_path.glob("model-*.safetensors"))).unlink()
    with pytest.raises(ConfigError, match=r"which is not there; download it again"):
        fill_towers(model, {"title": tmp_path})


def test_weights_as_the_oldest_checkpoints_of_the_hub_name_them(
    bert: tuple[PreTrainedModel, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`bert-base-uncased` has its encoder under a prefix, beside heads, with the names that norms had in TensorFlow."""
    theirs, folder = bert
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    renamed = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    weights = {"cls.predictions.bias": torch.zeros(50)}
    for name, tensor in theirs.state_dict().items():
        end = next((end for end in renamed if name.endswith(end)), "")
        weights[f"bert.{name.removesuffix(end)}{renamed.get(end, '')}"] = torch.rand_like(tensor)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = make(folder)
    capfd.readouterr()
    fill_towers(model, {"title": tmp_path})
    assert capfd.readouterr() == ("", "")
    ours = model.embeddings["title"].project.encoder.embeddings
    assert torch.equal(ours.LayerNorm.weight, weights["bert.embeddings.LayerNorm.gamma"])
    assert torch.equal(ours.word_embeddings.weight, weights["bert.embeddings.word_embeddings.weight"])


def test_what_is_not_an_encoder_is_named(bert: tuple[PreTrainedModel, Path], tmp_path: Path) -> None:
    _, folder = bert
    model = make(folder)

    def refused(message: str) -> None:
        with pytest.raises(ConfigError, match=message) as error:
            fill_towers(model, {"title": tmp_path})
        assert "\n" not in str(error.value)

    shutil.copy(folder / "config.json", tmp_path)
    refused("expected model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    refused(r"pytorch_model\.bin, which is pickled")
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused("cannot be loaded into the text encoder")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.0.output.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    refused(r"expected encoder\.layer\.0\.output\.dense\.bias among its weights")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(whole)
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    refused("cannot be loaded into the text encoder")


def test_more_parameters_than_the_weights_are_is_refused_by_name(
    bert: tuple[PreTrainedModel, Path], tmp_path: Path
) -> None:
    shutil.copytree(bert[1], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"type_vocab_size": 2**31}))
    with pytest.raises(
        ConfigError, match=rf"^{tmp_path}: its config.json describes 34,[\d,]+ parameters \(128.0 GiB\)"
    ):
        encoder_config(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_attention_heads": 0}))
    with pytest.raises(ConfigError, match=f"^{tmp_path}: text encoder of model_type 'bert': "):
        encoder_config(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(ConfigError, match=f"^{tmp_path}: expected model.safetensors"):
        fill_towers(make(tmp_path), {"title": tmp_path})


def test_no_code_of_a_checkpoint_is_run(bert: tuple[PreTrainedModel, Path], tmp_path: Path) -> None:
    shutil.copytree(bert[1], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "trap.py").write_text("raise SystemExit('code was run')\n")
    traps = {"auto_map": {"AutoModel": "trap.Trap", "AutoConfig": "trap.Trap"}}
    (tmp_path / "config.json").write_text(json.dumps(config | traps))
    model = make(tmp_path)
    assert "auto_map" not in model.config.modalities["title"].encoder
    fill_towers(model, {"title": tmp_path})
    (tmp_path / "config.json").write_text(json.dumps(config | traps | {"model_type": "trap"}))
    with pytest.raises(ConfigError, match="text encoder of model_type 'trap'"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert", "vocab_size": 4}, "vocab_size is 4, less than the 8"),
        ({"model_type": "bert", "max_position_embeddings": 4}, "max_position_embeddings is 4, less than the 12"),
        ({"model_type": "bert", "hidden_size": "wide"}, "text encoder of model_type 'bert'"),
        ({"model_type": "bert", "hidden_size": 10, "num_attention_heads": 3}, "text encoder of model_type 'bert'"),
        ({"hidden_size": 10}, "expected the config.json of a transformers model"),
    ],
)
def test_configurations_that_cannot_be(values: dict[str, Any], message: str) -> None:
    options = {"dim": 16, "heads": 2, "fusion": "selfall", "num_outputs": 1}
    text = {"kind": "text", "vocabulary": 8, "max_length": 12, "encoder": values}
    with pytest.raises(ConfigError, match=message):
        FusionModel(FusionConfig.from_dict({**options, "modalities": {"title": text}}))


def test_a_text_without_an_encoder_takes_no_checkpoint(bert: tuple[PreTrainedModel, Path]) -> None:
    specs = {"title": TextSpec(vocabulary=8, max_length=4)}
    model = FusionModel(FusionConfig(dim=16, heads=2, fusion="selfall", modalities=specs, num_outputs=1))
    with pytest.raises(ConfigError, match=r"expected a checkpoint with model_type vit"):
        fill_towers(model, {"title": bert[1]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert", "num_hidden_layers": 10**6}, "num_hidden_layers: expected at most 1,024, got 1000000"),
        ({"model_type": "bert", "vocab_size": 10**15}, r"[\d,]+ parameters, [\d,]+ GiB: that fits no machine"),
        ({"model_type": "bert", "hidden_size": 10**30}, "hidden_size: expected at most"),
        ({"model_type": "bert", "hidden_size": "x"}, "text encoder of model_type 'bert': "),
        ({"model_type": "bert", "num_attention_heads": 0}, "text encoder of model_type 'bert': "),
        ({"model_type": "no such"}, "text encoder of model_type 'no such': "),
    ],
)
def test_impossible_encoders_are_refused_before_they_are_made(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_encoder(values)
    assert "\n" not in str(caught.value)


def test_a_model_says_whose_encoder_is_impossible() -> None:
    spec = TextSpec(vocabulary=8, max_length=4, encoder={"model_type": "no such"})
    config = FusionConfig(
        dim=16, heads=2, depth=2, fusion_layers=1, modalities={"title": spec}, num_outputs=2, fusion="selfall"
    )
    with pytest.raises(ConfigError, match=r"^modality 'title': text encoder of model_type 'no such': "):
        FusionModel(config)


def test_a_saved_model_fetches_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its `config.json` names is described there in full; the names themselves are not looked up."""
    save_encoder("bert", tmp_path / "bert")
    values = encoder_config(str(tmp_path / "bert"))
    evil = {"_name_or_path": "someone/else", "auto_map": {"AutoModel": "evil.Evil"}, "backbone": "someone/else"}
    evil |= {"use_pretrained_backbone": True}

    def asked(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the hub was asked")

    for place in ("huggingface_hub.snapshot_download", "huggingface_hub.hf_hub_download"):
        monkeypatch.setattr(place, asked)
    model, width = build_encoder(values | evil)
    assert (type(model).__name__, width) == ("BertModel", 16)
