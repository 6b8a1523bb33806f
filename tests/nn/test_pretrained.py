"""Towers from checkpoints against the models of the library that wrote them, all of their weights drawn at random."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    ASTModel,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from locomt import FusionConfig, FusionModel
from locomt.nn import AudioSpec, FeatureSpec, ImageSpec, TextSpec, VideoSpec
from locomt.nn.config import FUSIONS, ConfigError
from locomt.nn.modalities import ModalitySpec
from locomt.nn.patches import inflate
from locomt.nn.pretrained import fill_towers

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
MODEL = {"dim": 32, "heads": 4, "depth": 3, "mlp_ratio": 2.0, "norm_eps": 1e-12, "fusion_layers": 2, "num_outputs": 5}
VIDEO = VideoSpec(frames=1, size=32, patch=8)
IMAGE = ImageSpec(size=32, patch=8)
AUDIO = AudioSpec(frames=43, mels=21, patch=8, stride=5, class_tokens=2)


def randomised(model: PreTrainedModel, scale: float = 0.2) -> PreTrainedModel:
    """Every weight at random, so that none can be left out or exchanged unseen."""
    generator = torch.Generator().manual_seed(len(list(model.parameters())))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> tuple[ViTModel, Path]:
    model = randomised(ViTModel(ViTConfig(image_size=32, patch_size=8, **SIZES), add_pooling_layer=False))
    path = tmp_path_factory.mktemp("vit")
    model.save_pretrained(path)
    return model, path


@pytest.fixture(scope="module")
def ast(tmp_path_factory: pytest.TempPathFactory) -> tuple[ASTModel, Path]:
    sizes = {"patch_size": 8, "max_length": 43, "num_mel_bins": 21, "frequency_stride": 5, "time_stride": 5}
    model = randomised(ASTModel(ASTConfig(**sizes, **SIZES)))
    path = tmp_path_factory.mktemp("ast")
    model.save_pretrained(path)
    return model, path


def make(modalities: dict[str, ModalitySpec], **options: Any) -> FusionModel:
    torch.manual_seed(0)
    fusion = {"fusion": "selfall"} if "views" not in options else {}
    return FusionModel(FusionConfig(modalities=modalities, **{**MODEL, **fusion, **options})).eval()


def outputs(model: FusionModel, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every modality's tokens behind its last norm: what the library calls `last_hidden_state`."""
    found = {}
    handle = model.fusion[-1].register_forward_hook(lambda _, __, out: found.update(out))
    model.everything = True
    model(inputs)
    model.everything = False
    handle.remove()
    return {name: model.norm.of(name)(tokens) for name, tokens in found.items() if name in inputs}


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def time_first(tokens: torch.Tensor, frequencies: int) -> torch.Tensor:
    """AST's patches, all times of a frequency, as ours: all frequencies of a time."""
    specials, patches = tokens.split([2, tokens.shape[1] - 2], dim=1)
    return torch.cat([specials, patches.unflatten(1, (frequencies, -1)).transpose(1, 2).flatten(1, 2)], dim=1)


@torch.no_grad()
@pytest.mark.parametrize("fusion_layers", [1, 3])
def test_towers_give_what_the_library_gives(
    vit: tuple[ViTModel, Path], ast: tuple[ASTModel, Path], fusion_layers: int
) -> None:
    model = make({"video": VIDEO, "audio": AUDIO}, fusion_layers=fusion_layers)
    fill_towers(model, {"video": vit[1], "audio": ast[1]})
    pixels, sound = torch.randn(2, 3, 32, 32), torch.randn(2, 43, 21)
    found = outputs(model, {"video": pixels[:, None], "audio": sound})
    close(found["video"], vit[0](pixels).last_hidden_state)
    theirs = ast[0](sound)
    close(found["audio"], time_first(theirs.last_hidden_state, 3))
    pooled = (found["video"][:, 0] + theirs.pooler_output) / 2
    close(model({"video": pixels[:, None], "audio": sound}), model.head(pooled))


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 48])
def test_a_picture_takes_a_vit(vit: tuple[ViTModel, Path], size: int) -> None:
    """Alone and beside a video that takes the same weights; a larger picture has its positions resized."""
    model = make({"photo": ImageSpec(size=size, patch=8), "video": VideoSpec(frames=2, size=32, patch=8)})
    fill_towers(model, {"photo": vit[1], "video": vit[1]})
    pixels = torch.randn(2, 3, size, size)
    found = outputs(model, {"photo": pixels[:, None]})
    close(found["photo"], vit[0](pixels, interpolate_pos_encoding=True).last_hidden_state)
    towers = {name: model.state_dict()[f"embeddings.{name}.project.project.weight"] for name in ("photo", "video")}
    assert torch.equal(towers["photo"], towers["video"])


@pytest.mark.slow
@torch.no_grad()
def test_towers_of_full_size(tmp_path: Path) -> None:
    """ViT-B/16 on a picture and AST on 1,024 frames, beside each other."""
    vit = randomised(ViTModel(ViTConfig(), add_pooling_layer=False), 0.02)
    ast = randomised(ASTModel(ASTConfig()), 0.02)
    vit.save_pretrained(tmp_path / "vit")
    ast.save_pretrained(tmp_path / "ast")
    specs = {"video": VideoSpec(frames=1), "audio": AudioSpec(frames=1024, stride=10, class_tokens=2)}
    model = make(specs, dim=768, heads=12, depth=12, mlp_ratio=4.0, fusion_layers=4)
    fill_towers(model, {"video": tmp_path / "vit", "audio": tmp_path / "ast"})
    pixels, sound = torch.randn(1, 3, 224, 224), torch.randn(1, 1024, 128)
    found = outputs(model, {"video": pixels[:, None], "audio": sound})
    close(found["video"], vit(pixels).last_hidden_state)
    close(found["audio"], time_first(ast(sound).last_hidden_state, 12))


@torch.no_grad()
def test_heads_that_are_grouped_by_view_keep_their_weights(vit: tuple[ViTModel, Path]) -> None:
    """Where the other modality is missing, cross heads that fall back on their own make the ViT as it was."""
    views = "self:1 video~audio:1 self:1 video~audio:1\nvideo~audio:3 self:1"
    model = make({"video": VIDEO, "audio": AUDIO}, views=views, on_missing="self")
    fill_towers(model, {"video": vit[1]})
    pixels = torch.randn(2, 3, 32, 32)
    close(outputs(model, {"video": pixels[:, None]})["video"], vit[0](pixels).last_hidden_state)


def table_of(model: FusionModel) -> dict[str, torch.Tensor]:
    """The state dict under names that all fusions share."""
    state = {name.replace(".blocks.video.", ".").replace(".tokens.", ".video."): t for name, t in _own(model, "video")}
    return state | {
        name.replace(".blocks.audio.", ".").replace(".tokens.", ".audio."): t for name, t in _own(model, "audio")
    }


def _own(model: FusionModel, name: str) -> list[tuple[str, torch.Tensor]]:
    return [(key, tensor) for key, tensor in model.state_dict().items() if f".{name}." in key]


def test_all_fusions_start_from_the_same_weights(vit: tuple[ViTModel, Path], ast: tuple[ASTModel, Path]) -> None:
    specs = {"video": VIDEO, "audio": AUDIO}
    tables = {}
    for fusion in FUSIONS:
        model = make(specs, fusion=fusion)
        before = {name: tensor.clone() for name, tensor in table_of(model).items()}
        fill_towers(model, {"video": vit[1], "audio": ast[1]})
        tables[fusion] = table_of(model)
        same = {name for name, tensor in tables[fusion].items() if torch.equal(tensor, before[name])}
        assert {name.rsplit(".", 1)[-1] for name in same} == {"grid"}
    for fusion in FUSIONS[1:]:
        assert tables[fusion].keys() == tables["locomt"].keys()
        assert all(torch.equal(tensor, tables["locomt"][name]) for name, tensor in tables[fusion].items())


@torch.no_grad()
def test_shared_fusion_weights_take_one_checkpoint(vit: tuple[ViTModel, Path], ast: tuple[ASTModel, Path]) -> None:
    specs = {"video": VIDEO, "audio": AudioSpec(frames=48, mels=24, patch=8)}
    model = make(specs, shared_weights=True)
    fill_towers(model, dict.fromkeys(specs, vit[1]))
    pixels = torch.randn(1, 3, 32, 32)
    found = outputs(model, {"video": pixels[:, None], "audio": torch.randn(1, 48, 24)})
    close(found["video"], vit[0](pixels).last_hidden_state)
    with pytest.raises(ConfigError, match=r"shared_weights .* must name the same checkpoint"):
        fill_towers(model, {"video": vit[1], "audio": ast[1]})


@torch.no_grad()
@pytest.mark.parametrize("tubelet", [1, 2, 3])
def test_inflated_towers_see_a_still_clip_as_its_picture(vit: tuple[ViTModel, Path], tubelet: int) -> None:
    picture = torch.randn(2, 3, 32, 32)
    clip = picture[:, None].expand(-1, tubelet, -1, -1, -1)
    for inflation in ("central", "average"):
        model = make({"video": VideoSpec(frames=tubelet, size=32, patch=8, tubelet=tubelet)})
        fill_towers(model, {"video": vit[1]}, inflation)
        close(outputs(model, {"video": clip})["video"], vit[0](picture).last_hidden_state)


def test_inflation_looks_at_one_frame_or_at_all_alike() -> None:
    kernel = torch.randn(4, 3, 8, 8)
    frames = torch.randn(3, 3, 8, 8)
    alone = torch.einsum("dchw,tchw->td", kernel, frames)
    torch.testing.assert_close(torch.einsum("dcthw,tchw->d", inflate(kernel, 3, "central"), frames), alone[1])
    torch.testing.assert_close(torch.einsum("dcthw,tchw->d", inflate(kernel, 3, "average"), frames), alone.mean(0))


@torch.no_grad()
def test_positions_of_larger_pictures_are_those_of_the_library(vit: tuple[ViTModel, Path]) -> None:
    model = make({"video": VideoSpec(frames=1, size=48, patch=8)})
    fill_towers(model, {"video": vit[1]})
    pixels = torch.randn(2, 3, 48, 48)
    theirs = vit[0](pixels, interpolate_pos_encoding=True).last_hidden_state
    close(outputs(model, {"video": pixels[:, None]})["video"], theirs)


@torch.no_grad()
def test_positions_are_the_same_at_all_times(vit: tuple[ViTModel, Path]) -> None:
    model = make({"video": VideoSpec(frames=4, size=32, patch=8, tubelet=2)})
    fill_towers(model, {"video": vit[1]})
    first, second = model.embeddings["video"].positions.unflatten(0, (2, -1))
    close(first, vit[0].embeddings.position_embeddings[0, 1:])
    assert torch.equal(first, second)


@torch.no_grad()
def test_a_vit_hears_a_spectrogram_as_a_grey_picture(vit: tuple[ViTModel, Path]) -> None:
    model = make({"audio": AudioSpec(frames=32, mels=32, patch=8)})
    fill_towers(model, {"audio": vit[1]})
    sound = torch.randn(2, 32, 32)
    theirs = vit[0](sound.mT[:, None].expand(-1, 3, -1, -1)).last_hidden_state
    patches = theirs[:, 1:].unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)
    close(outputs(model, {"audio": sound})["audio"], torch.cat([theirs[:, :1], patches], dim=1))


@torch.no_grad()
def test_other_grids_of_a_spectrogram(ast: tuple[ASTModel, Path]) -> None:
    """Longer, more bands, patches that do not overlap, one class token: it fits, positions resized."""
    for spec in (
        AudioSpec(frames=100, mels=30, patch=8, stride=5, class_tokens=2),
        AudioSpec(frames=48, mels=16, patch=8),
    ):
        model = make({"audio": spec})
        fill_towers(model, {"audio": ast[1]})
        assert model(model.example_inputs(1)).isfinite().all()
        theirs = ast[0].embeddings
        expected = theirs.distillation_token if spec.class_tokens == 2 else theirs.cls_token
        place = spec.class_tokens - 1
        close(model.embeddings["audio"].cls[:, -1:], expected + theirs.position_embeddings[:, place : place + 1])


@torch.no_grad()
@pytest.mark.parametrize(
    ("processor", "mean", "std"),
    [
        ({"image_mean": [0.485, 0.456, 0.406], "image_std": [0.2, 0.3, 0.4]}, (0.485, 0.456, 0.406), (0.2, 0.3, 0.4)),
        ({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ({"do_normalize": False, "image_mean": [0.5, 0.5, 0.5]}, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ({"rescale_factor": 1 / 51, "image_mean": 0.25, "image_std": 4.0}, (0.05, 0.05, 0.05), (0.8, 0.8, 0.8)),
    ],
)
def test_pixels_are_normalised_as_the_checkpoint_was_trained(
    vit: tuple[ViTModel, Path],
    tmp_path: Path,
    processor: dict[str, Any],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    folder = tmp_path / "vit"
    shutil.copytree(vit[1], folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    model = make({"video": VIDEO})
    fill_towers(model, {"video": folder})
    pixels = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    theirs = vit[0]((pixels[:, 0] / 255 - mean) / std).last_hidden_state
    close(outputs(model, {"video": pixels})["video"], theirs)


@torch.no_grad()
def test_checkpoints_with_a_head_on_top(tmp_path: Path) -> None:
    vit = randomised(ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, qkv_bias=False, **SIZES)))
    sizes = {"patch_size": 8, "max_length": 43, "num_mel_bins": 21, "frequency_stride": 5, "time_stride": 5}
    ast = randomised(ASTForAudioClassification(ASTConfig(**sizes, **SIZES)))
    vit.save_pretrained(tmp_path / "vit")
    ast.save_pretrained(tmp_path / "ast")
    model = make({"video": VIDEO, "audio": AUDIO})
    fill_towers(model, {"video": tmp_path / "vit", "audio": tmp_path / "ast"})
    pixels, sound = torch.randn(1, 3, 32, 32), torch.randn(1, 43, 21)
    found = outputs(model, {"video": pixels[:, None], "audio": sound})
    close(found["video"], vit.vit(pixels).last_hidden_state)
    close(found["audio"], time_first(ast.audio_spectrogram_transformer(sound).last_hidden_state, 3))


@torch.no_grad()
def test_every_norm_has_the_epsilon_of_the_checkpoint(tmp_path: Path) -> None:
    vit = randomised(ViTModel(ViTConfig(image_size=32, patch_size=8, layer_norm_eps=0.5, **SIZES)))
    vit.save_pretrained(tmp_path)
    model = make({"video": VIDEO}, norm_eps=0.5)
    fill_towers(model, {"video": tmp_path})
    pixels = torch.randn(1, 3, 32, 32)
    close(outputs(model, {"video": pixels[:, None]})["video"], vit(pixels).last_hidden_state)


def test_half_precision_weights_are_read(vit: tuple[ViTModel, Path], tmp_path: Path) -> None:
    shutil.copytree(vit[1], tmp_path, dirs_exist_ok=True)
    save_file(
        {n: t.bfloat16() for n, t in load_file(vit[1] / "model.safetensors").items()}, tmp_path / "model.safetensors"
    )
    model = make({"video": VIDEO})
    fill_towers(model, {"video": tmp_path})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    torch.testing.assert_close(model.norm["video"].weight, vit[0].layernorm.weight, rtol=1e-2, atol=1e-3)


@torch.no_grad()
def test_weights_in_several_files(vit: tuple[ViTModel, Path], tmp_path: Path) -> None:
    vit[0].save_pretrained(tmp_path, max_shard_size="20KB")
    parts = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(parts) > 2
    model = make({"video": VIDEO})
    fill_towers(model, {"video": tmp_path})
    pixels = torch.randn(2, 3, 32, 32)
    close(outputs(model, {"video": pixels[:, None]})["video"], vit[0](pixels).last_hidden_state)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../model.safetensors", r"expected names of safetensors files beside it, got '\.\./model"),
        ("model.bin", "expected names of safetensors files beside it, got 'model.bin'"),
        (3, "expected names of safetensors files beside it, got 3"),
        ("model-9-of-9.safetensors", "names model-9-of-9.safetensors, which is not there"),
        (None, "expected a weight_map"),
        (["model.safetensors"], "expected names of safetensors files beside it, got \\['model"),
    ],
)
def test_an_index_of_weights_that_cannot_serve(
    vit: tuple[ViTModel, Path], tmp_path: Path, name: str | int | list[str] | None, message: str
) -> None:
    vit[0].save_pretrained(tmp_path / "vit", max_shard_size="20KB")
    shutil.copy(vit[1] / "model.safetensors", tmp_path)
    shutil.copy(vit[1] / "model.safetensors", tmp_path / "vit" / "model.bin")
    path = tmp_path / "vit" / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = index["weight_map"] | {"layernorm.bias": name} if name is not None else {}
    path.write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=message):
        fill_towers(make({"video": VIDEO}), {"video": tmp_path / "vit"})


def test_a_part_that_is_not_whole(vit: tuple[ViTModel, Path], tmp_path: Path) -> None:
    vit[0].save_pretrained(tmp_path, max_shard_size="20KB")
    part = sorted(tmp_path.glob("model-*.safetensors"))[1]
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(ConfigError, match=rf"{part.name}: not a whole safetensors file"):
        fill_towers(make({"video": VIDEO}), {"video": tmp_path})


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_head_of_zeros_answers_zero_and_changes_nothing_else(fusion: str) -> None:
    specs = {"video": VIDEO, "audio": AUDIO}
    model, usual = (make(specs, fusion=fusion, head_init=init) for init in ("zero", "xavier"))
    assert not model(model.example_inputs(2)).any()
    assert usual(model.example_inputs(2)).all()
    assert all(torch.equal(t, usual.state_dict()[n]) for n, t in model.state_dict().items() if n != "head.weight")


@pytest.mark.parametrize(
    ("options", "specs", "message"),
    [
        ({"dim": 64}, {"video": VIDEO}, "needs model.dim 32, here it is 64"),
        ({"heads": 2}, {"video": VIDEO}, "needs model.heads 4, here it is 2"),
        ({"depth": 4}, {"video": VIDEO}, "needs model.depth 3, here it is 4"),
        ({"mlp_ratio": 4.0}, {"video": VIDEO}, "needs model.mlp_ratio 2, here it is 4"),
        ({"norm_eps": 1e-5}, {"video": VIDEO}, "needs model.norm_eps 1e-12, here it is 1e-05"),
        ({}, {"video": VideoSpec(frames=1, size=32, patch=16)}, r"needs modalities\.video\.patch 8, here it is 16"),
        (
            {},
            {"video": VideoSpec(frames=1, size=32, patch=8, channels=1)},
            r"needs modalities\.video\.channels 3, here it is 1",
        ),
        ({}, {"video": TextSpec(vocabulary=5, max_length=3)}, "'video' is text; .* a text takes the model that"),
        ({}, {"video": FeatureSpec(dim=3, max_length=3)}, "'video' is features; .* has model_type vit"),
        ({}, {"video": AudioSpec(frames=32, mels=32, patch=8, class_tokens=2)}, "has 1 of the 2 class tokens"),
        ({}, {"lips": VIDEO}, "'video' is not one of lips"),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_what_would(
    vit: tuple[ViTModel, Path], options: dict[str, Any], specs: dict[str, ModalitySpec], message: str
) -> None:
    model = make(specs, **options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError, match=message):
        fill_towers(model, {"video": vit[1]})
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("spec", [VIDEO, IMAGE])
def test_an_ast_does_not_see(ast: tuple[ASTModel, Path], spec: ModalitySpec) -> None:
    message = rf"'seen' is {spec.kind}; .* has model_type audio-spectrogram-transformer, which is for audio;"
    with pytest.raises(ConfigError, match=message):
        fill_towers(make({"seen": spec}), {"seen": ast[1]})


def test_folders_that_hold_no_checkpoint(vit: tuple[ViTModel, Path], tmp_path: Path) -> None:
    model = make({"video": VIDEO})

    def refused(message: str, source: Path = tmp_path) -> None:
        with pytest.raises(ConfigError, match=message):
            fill_towers(model, {"video": source})

    refused("there is no such folder", tmp_path / "nowhere")
    refused(r"found no config\.json")
    (tmp_path / "config.json").write_text("{")
    refused("not valid JSON")
    (tmp_path / "config.json").write_text("[]")
    refused("expected a JSON object")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    refused("model_type vit or audio-spectrogram-transformer, got 'bert'")
    config = json.loads((vit[1] / "config.json").read_text())
    for name, value in (("hidden_size", "32"), ("patch_size", [8, 8, 8]), ("num_hidden_layers", -1), ("image_size", 0)):
        (tmp_path / "config.json").write_text(json.dumps(config | {name: value}))
        refused(f"expected {name} such as")
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused("expected model.safetensors .* found none")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    refused(r"pytorch_model\.bin, which is pickled")
    weights = load_file(vit[1] / "model.safetensors")
    whole = (vit[1] / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused("not a whole safetensors file")
    del weights["encoder.layer.1.layernorm_after.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    refused(r"expected encoder\.layer\.1\.layernorm_after\.bias .* got no such tensor")
    (tmp_path / "model.safetensors").write_bytes(whole)
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    refused("activation 'relu'")
    (tmp_path / "config.json").write_text(json.dumps(config))
    fill_towers(model, {"video": tmp_path})


def test_an_id_that_cannot_be_had_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = make({"video": VIDEO})
    with pytest.raises(ConfigError, match=r"`hf download nobody/nothing` fetches it") as error:
        fill_towers(model, {"video": "nobody/nothing"})
    assert "\n" not in str(error.value)


def test_an_id_is_looked_up_in_the_cache_of_the_hub(
    vit: tuple[ViTModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `hf download` leaves it: nothing but the files, under a commit."""
    import huggingface_hub.constants

    commit = "0" * 40
    repo = tmp_path / "models--someone--vit"
    shutil.copytree(vit[1], repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for source in ("someone/vit", "someone/vit@main", f"someone/vit@{commit}"):
        model = make({"video": VIDEO})
        fill_towers(model, {"video": source})
        assert torch.equal(model.norm["video"].weight, vit[0].layernorm.weight)


def test_filled_models_are_saved_and_loaded(
    vit: tuple[ViTModel, Path], ast: tuple[ASTModel, Path], tmp_path: Path
) -> None:
    model = make({"video": VIDEO, "audio": AUDIO})
    fill_towers(model, {"video": vit[1], "audio": ast[1]})
    model.save_pretrained(tmp_path)
    loaded = FusionModel.from_pretrained(tmp_path)
    inputs = model.example_inputs(2)
    assert torch.equal(loaded(inputs), model(inputs))


@pytest.mark.parametrize("frames", [1, 8, 9, 30, 38, 43])
def test_shorter_recordings_with_overlapping_patches(ast: tuple[ASTModel, Path], frames: int) -> None:
    """A padded recording is the recording alone; what no whole patch fits into at the end is left out."""
    model = make({"audio": AUDIO})
    fill_towers(model, {"audio": ast[1]})
    sound = torch.randn(2, 43, 21)
    sound[0, frames:] = 0
    lengths = {"audio": torch.tensor([frames, 43])}
    padded = model({"audio": sound}, lengths)
    torch.testing.assert_close(padded[:1], model({"audio": sound[:1, :frames]}), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(padded[1:], model({"audio": sound[1:]}), rtol=1e-4, atol=1e-5)
