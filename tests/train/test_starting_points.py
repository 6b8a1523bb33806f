"""Runs that start from pretrained towers: the recipe's fields, the optimiser's groups, and what frozen parts keep."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imsave
from transformers import ASTConfig, ASTModel, AutoModel, ViTConfig, ViTModel

from feature_project import make_project, read_rows, write_manifest
from locomt import FusionConfig, FusionModel
from locomt.nn import AudioSpec, FeatureSpec, VideoSpec
from locomt.nn.config import FUSIONS
from locomt.nn.pretrained import fill_towers
from locomt.train import Run, evaluate, fit, load_recipe
from locomt.train.config import RecipeError, TrainConfig
from locomt.train.optim import freeze, make_optimizer, make_schedule, part_of
from locomt.train.pretrained_input import differences
from text_encoders import save_encoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
AST = {"max_length": 32, "num_mel_bins": 16, "patch_size": 8, "time_stride": 5, "frequency_stride": 5}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A recipe for pictures and sounds, beside which lie a ViT and an AST."""
    ViTModel(ViTConfig(image_size=32, patch_size=8, **SIZES)).save_pretrained(tmp_path / "towers" / "vit")
    ASTModel(ASTConfig(**AST, **SIZES)).save_pretrained(tmp_path / "towers" / "ast")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(8):
        imsave(tmp_path / f"{i}.png", rng.random((32, 32, 3)))
        with wave.open(str(tmp_path / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", "NONE"))
            file.writeframes((rng.standard_normal(5200) * 3000).astype(np.int16).tobytes())
        label, split = ("left", "right")[i % 2], "train" if i < 6 else "val"
        rows.append({"id": str(i), "split": split, "label": label, "picture": f"{i}.png", "sound": f"{i}.wav"})
    write_manifest(tmp_path, rows)
    video = {"kind": "video", "column": "picture", "frames": 2, "tubelet": 2, "size": 32, "patch": 8}
    audio = {
        "kind": "audio",
        "column": "sound",
        "seconds": 0.32,
        "mels": 16,
        "patch": 8,
        "stride": 5,
        "class_tokens": 2,
    }
    settings = {"epochs": 2, "batch_size": 3, "learning_rate": 0.05, "tensorboard": False, "accelerator": "cpu"}
    recipe = {
        "model": {"dim": 16, "heads": 2, "depth": 2, "mlp_ratio": 2.0, "norm_eps": 1e-12, "fusion_layers": 1},
        "data": {"manifest": "clips.csv", "modalities": {"video": video, "audio": audio}},
        "train": {**settings, "pretrained": {"video": "towers/vit", "audio": "towers/ast"}},
    }
    path = tmp_path / "clips.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def filled(config: FusionConfig, sources: dict[str, str], **options: Any) -> dict[str, torch.Tensor]:
    model = FusionModel(config)
    fill_towers(model, sources, **options)
    return model.state_dict()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_run_starts_from_its_towers(project: Path, fusion: str) -> None:
    """At a rate too low to move anything, what comes out is what went in."""
    recipe = load_recipe(
        project, ["--model.fusion", fusion, "--train.learning_rate", "1e-12", "--train.inflation=average"]
    )
    assert recipe.train.pretrained == {
        n: str(project.parent / "towers" / p) for n, p in (("video", "vit"), ("audio", "ast"))
    }
    run = project.parent / "run"
    fit(recipe, run)
    state = Run.load(run).model.state_dict()
    expected = filled(recipe.fusion_config(), recipe.train.pretrained, inflation="average")
    drawn = {"head.weight", "head.bias", "bottleneck"}
    assert all(torch.allclose(tensor, expected[name], atol=1e-8) for name, tensor in state.items() if name not in drawn)


def test_a_resumed_run_needs_its_checkpoints_no_more(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(row: object) -> None:
        raise KeyboardInterrupt

    run, whole = project.parent / "run", project.parent / "whole"
    fit(load_recipe(project), whole)
    with pytest.raises(KeyboardInterrupt):
        fit(load_recipe(project), run, on_epoch=stop)
    monkeypatch.setattr("locomt.train.trainer.fill_towers", lambda *_: pytest.fail("read again"))
    fit(load_recipe(project), run, resume=True)
    ours, theirs = (Run.load(path).model.state_dict() for path in (run, whole))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_frozen_parts_stay_and_the_others_move(project: Path) -> None:
    options = ["--train.frozen", "[video]", "--model.dropout", "0.5", "--model.drop_path", "0.5"]
    recipe = load_recipe(project, [*options, "--train.learning_rates.head", "0.2"])
    run = project.parent / "run"
    modes = set()

    def look(model: FusionModel, *_: object) -> None:
        if model.training:
            video = [m for n, m in model.named_modules() if part_of(n) == "video"]
            modes.add((any(module.training for module in video), model.towers["audio"].training, model.fusion.training))

    original = FusionModel.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FusionModel, "forward", lambda model, *args: (look(model), original(model, *args))[1])
        fit(recipe, run)
    assert modes == {(False, True, True)}  # in the second epoch too, after validation
    state = Run.load(run).model.state_dict()
    before = filled(recipe.fusion_config(), recipe.train.pretrained)
    for name, tensor in state.items():
        if not name.endswith("grid"):
            assert torch.equal(tensor, before[name]) == (part_of(name) == "video"), name


def test_a_checkpoint_that_cannot_serve_leaves_no_run_behind(project: Path) -> None:
    run = project.parent / "run"
    with pytest.raises(ValueError, match=r"needs model\.norm_eps 1e-12"):
        fit(load_recipe(project, ["--model.norm_eps", "1e-5"]), run)
    assert not run.exists()
    with pytest.raises(ValueError, match="has model_type audio-spectrogram-transformer, which is for audio;"):
        fit(load_recipe(project, ["--train.pretrained.video", str(project.parent / "towers" / "ast")]), run)
    assert not run.exists()


def test_ids_on_the_hub_stay_as_they_are(project: Path) -> None:
    recipe = load_recipe(project, ["--train.pretrained", "{video: google/vit-base-patch16-224-in21k}"])
    assert recipe.train.pretrained == {"video": "google/vit-base-patch16-224-in21k"}
    (project.parent / "saved.yaml").write_text(recipe.to_yaml(project.parent))
    assert load_recipe(project.parent / "saved.yaml") == recipe


def test_only_leaves_out_what_is_not_there(project: Path) -> None:
    rates = ["--train.learning_rates", "{video: 0.1, audio: 0.2, head: 1}"]
    alone = load_recipe(project, [*rates, "--train.frozen", "[fusion]"]).only("audio")
    assert set(alone.train.pretrained) == {"audio"}
    assert alone.train.learning_rates == {"audio": 0.2, "head": 1}
    assert alone.train.frozen == ("fusion",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--train.pretrained.vidoe", "x"], "train.pretrained: unknown name 'vidoe'; did you mean 'video'?"),
        (["--train.learning_rates.haed", "1"], "train.learning_rates: unknown name 'haed'; did you mean 'head'?"),
        (["--train.learning_rates.head", "0"], "train.learning_rates.head: expected above 0, got 0"),
        (["--train.learning_rates.head", "fast"], "train.learning_rates: expected dict[str, float]"),
        (["--train.frozen", "[vidoe]"], "train.frozen: unknown name 'vidoe'; did you mean 'video'?"),
        (["--train.frozen", "[video, audio, fusion, head]"], "nothing is left to train"),
        (
            ["--train.frozen", "[video]", "--train.learning_rates.video", "1"],
            "'video' has a rate in train.learning_rates",
        ),
        (["--train.inflation", "middle"], "train.inflation: expected one of central, average, got 'middle'"),
        (["--model.norm_eps", "0"], "model.norm_eps: expected above 0, at most 1, got 0"),
        (["--model.head_init", "zeros"], "model.head_init: expected one of xavier, zero, got 'zeros'"),
    ],
)
def test_refusals(project: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(project, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fusion", ["locomt", "mbt"])
def test_groups_have_the_rates_of_their_parts(fusion: str) -> None:
    specs = {
        "video": VideoSpec(frames=2, size=8, patch=4),
        "audio": AudioSpec(frames=8, mels=8, patch=4),
        "lips": FeatureSpec(dim=3, max_length=4),
    }
    model = FusionModel(
        FusionConfig(dim=8, heads=2, depth=2, fusion_layers=1, fusion=fusion, modalities=specs, num_outputs=2)
    )
    freeze(model, ["lips"])
    config = TrainConfig(
        learning_rate=0.1, learning_rates={"video": 0.01, "head": 1.0}, frozen=("lips",), weight_decay=0.3, epochs=2
    )
    optimizer = make_optimizer(model, config)
    schedule = make_schedule(optimizer, config, steps_per_epoch=5)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {"video": 0.01, "audio": 0.1, "fusion": 0.1, "head": 1.0}
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            assert group["lr"] == rates[part_of(name)], name
            kept = name.endswith(("bias", "cls", "positions")) or "norm" in name or "bottleneck" in name
            assert group["weight_decay"] == (0.0 if kept else 0.3), name
    assert seen == {name for name in names.values() if part_of(name) != "lips"}
    assert optimizer.param_groups[0]["lr"] == 0.1  # what metrics.csv reports
    for _ in range(5):
        optimizer.step()
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05] * 2 + [0.005] * 2 + [0.5] * 2)


def test_every_parameter_of_a_model_is_in_one_part() -> None:
    specs = {"video": VideoSpec(frames=2, size=8, patch=4), "lips": FeatureSpec(dim=3, max_length=4)}
    options = {"dim": 8, "heads": 2, "depth": 2, "fusion_layers": 1, "num_outputs": 2, "modalities": specs}
    for fusion in FUSIONS:
        for shared in (False, True):
            model = FusionModel(FusionConfig(fusion=fusion, shared_weights=shared, **options))
            parts = {part_of(name) for name, _ in model.named_parameters()}
            assert parts == {"video", "lips", "fusion", "head"}


@pytest.fixture
def titles(tmp_path: Path) -> Path:
    """A recipe for titles beside feature files, and a text encoder in a folder beside it."""
    recipe = make_project(tmp_path / "project")
    save_encoder("bert", recipe.parent / "bert")
    rows = read_rows(recipe.parent)
    for row in rows:
        row["title"] = f"the arrow points {row['label']}"
    write_manifest(recipe.parent, rows)
    values = yaml.safe_load(recipe.read_text())
    title = {"kind": "text", "column": "title", "max_length": 8, "encoder": "bert"}
    values["data"]["modalities"] = {"sound": values["data"]["modalities"]["sound"], "title": title}
    recipe.write_text(yaml.safe_dump(values))
    return recipe


@pytest.mark.parametrize(
    "options", [[], ["--train.frozen", "[title.encoder]"], ["--train.learning_rates", "{title.encoder: 1.0e-12}"]]
)
def test_a_text_encoder_is_trained_frozen_or_has_a_rate_of_its_own(titles: Path, options: list[str]) -> None:
    recipe = load_recipe(titles, options)
    source = recipe.data.modalities["title"]
    assert source.encoder == source.tokenizer == str(titles.parent / "bert")
    run = titles.parent / "run"
    fit(recipe, run)
    loaded = Run.load(run)
    state = loaded.model.embeddings["title"].project.encoder.state_dict()
    before = AutoModel.from_pretrained(titles.parent / "bert").state_dict()
    weights = [name for name in state if name.endswith("dense.weight")]
    kept = [torch.allclose(state[name], before[name], rtol=0, atol=1e-7) for name in weights]
    assert all(kept) if options else not any(kept)
    assert evaluate(loaded)["samples"] == 5


def test_an_encoder_is_a_starting_point(titles: Path) -> None:
    recipe = load_recipe(titles)
    assert recipe.starting_points == {"title": str(titles.parent / "bert")}
    assert recipe.parts == ("sound", "title", "title.encoder", "fusion", "head")
    (titles.parent / "saved.yaml").write_text(recipe.to_yaml(titles.parent))
    assert load_recipe(titles.parent / "saved.yaml") == recipe
    with pytest.raises(RecipeError, match=r"unknown name 'sound\.encoder'"):
        load_recipe(titles, ["--train.frozen", "[sound.encoder]"])
    with pytest.raises(RecipeError, match=r"'title' is text: .* what data\.modalities\.title\.encoder names"):
        differences(load_recipe(titles, ["--train.pretrained", "{title: bert}"]))
    elsewhere = load_recipe(titles, ["--data.modalities.title.encoder", "./nothing"])
    with pytest.raises(ValueError, match="there is no such folder"):
        elsewhere.fusion_config()
