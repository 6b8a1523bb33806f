"""Folders that programs write and others pass on: models, pretrained weights, tokenizers, runs, checkpoints."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import ASTConfig, ASTModel, ViTConfig, ViTModel

from feature_project import make_project
from fuzz.target import FaultError, Target, check_items, command, one_in
from locomt import FusionConfig, FusionModel, from_pretrained
from locomt.data import DataConfig, FileDataset, TextSource
from locomt.nn import AudioSpec, FeatureSpec, TextSpec, VideoSpec
from locomt.nn.pretrained import fill_towers
from locomt.train.evaluation import Run, evaluate, predict
from locomt.train.fitting import fit
from locomt.train.recipe_file import load_recipe
from locomt.train.start import fill_from_run
from text_encoders import save_encoder

SIZES: dict[str, Any] = {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1, "num_outputs": 3}
MODALITIES = {
    "video": VideoSpec(frames=2, size=16, patch=8),
    "audio": AudioSpec(frames=16, mels=16, patch=8),
    "motion": FeatureSpec(dim=6, max_length=4),
    "title": TextSpec(vocabulary=30, max_length=8),
}
MODELS: dict[str, dict[str, Any]] = {
    "locomt": {},
    "table": {"views": "self:1 video~audio:1", "modalities": {n: MODALITIES[n] for n in ("video", "audio")}},
    "mbt": {"fusion": "mbt", "bottlenecks": 2},
    "multiall": {"fusion": "multiall", "shared_weights": True},
    "steps": {
        "steps": ("motion",),
        "modalities": {"motion": MODALITIES["motion"], "title": TextSpec(vocabulary=30, max_length=4)},
    },
}


def make_models(folder: Path) -> None:
    for name, options in MODELS.items():
        torch.manual_seed(0)
        FusionModel(FusionConfig(**{**SIZES, "modalities": MODALITIES, **options})).save_pretrained(folder / name)
    save_encoder("bert", encoder := folder.parent / "bert")
    source = TextSource(column="title", max_length=8, encoder=str(encoder))
    FusionModel(
        FusionConfig(**SIZES, modalities={"title": source.spec(), "motion": MODALITIES["motion"]})
    ).save_pretrained(folder / "encoder")


def read_models(folder: Path) -> None:
    model = FusionModel.from_pretrained(folder)
    with torch.no_grad():
        model(model.example_inputs(batch=2))
    fill_from_run(FusionModel(model.config), folder)


TOWER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TARGET: dict[str, Any] = {"dim": 16, "heads": 2, "depth": 2, "mlp_ratio": 2.0, "norm_eps": 1e-12, "fusion_layers": 1}


def make_pretrained(folder: Path) -> None:
    """A ViT, an AST and a BERT; one in several files, one with pickled weights alone."""
    torch.manual_seed(0)
    vit = ViTModel(ViTConfig(image_size=32, patch_size=8, **TOWER), add_pooling_layer=False)
    sizes = {"patch_size": 8, "max_length": 43, "num_mel_bins": 21, "frequency_stride": 5, "time_stride": 5}
    ast = ASTModel(ASTConfig(**sizes, **TOWER))
    pictures_are = {
        "image_mean": [0.5, 0.4, 0.5],
        "image_std": [0.5, 0.5, 0.6],
        "do_normalize": True,
        "size": {"height": 32, "width": 32},
    }
    sounds_are = {"sampling_rate": 16000, "mean": -4.27, "std": 4.57, "num_mel_bins": 21, "max_length": 43}
    for name, model, processor in (
        ("vit", vit, pictures_are),
        ("ast", ast, sounds_are),
        ("parts", vit, pictures_are),
        ("pickled", vit, {}),
    ):
        model.save_pretrained(folder / name)
        (folder / name / "preprocessor_config.json").write_text(json.dumps(processor))
    weights = load_file(folder / "parts" / "model.safetensors")
    names = list(weights)
    halves = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, half in halves.items():
        save_file({name: weights[name] for name in half}, folder / "parts" / file)
    (folder / "parts" / "model.safetensors").unlink()
    weight_map = {name: file for file, half in halves.items() for name in half}
    (folder / "parts" / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    torch.save(weights, folder / "pickled" / "pytorch_model.bin")
    (folder / "pickled" / "model.safetensors").unlink()
    save_encoder("bert", folder / "bert")


@cache
def _towers() -> FusionModel:
    modalities = {
        "video": VideoSpec(frames=1, size=32, patch=8),
        "audio": AudioSpec(frames=43, mels=21, patch=8, stride=5, class_tokens=2),
    }
    return FusionModel(FusionConfig(**TARGET, num_outputs=2, modalities=modalities, fusion="selfall"))


def read_pretrained(folder: Path) -> None:
    kind = {"vit": "video", "ast": "audio", "parts": "video", "pickled": "video"}.get(folder.name)
    if kind is not None:
        fill_towers(_towers(), {kind: folder})
        return
    source = TextSource(column="title", max_length=8, encoder=str(folder))
    model = FusionModel(FusionConfig(**TARGET, num_outputs=2, modalities={"title": source.spec()}, fusion="selfall"))
    fill_towers(model, {"title": folder})
    with torch.no_grad():
        model({"title": source.load("go left")[None]})


def make_tokenizers(folder: Path) -> None:
    """By words, by pairs of bytes and by pieces of words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import BertTokenizerFast, PreTrainedTokenizerFast

    texts = ["go left and right", "turn the arrow up", "naïve café"] * 3
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate([*specials, "go", "left"])}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer, pairs.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    pairs.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=300, special_tokens=specials, show_progress=False))
    for name, tokenizer in (("words", words), ("pairs", pairs)):
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
            folder / name
        )
    (folder / "pieces").mkdir()
    (vocabulary := folder / "vocab.txt").write_text("\n".join([*specials, "go", "left", "##s", "a", "##b"]) + "\n")
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder / "pieces")
    vocabulary.unlink()


def read_tokenizers(folder: Path) -> None:
    source = TextSource(column="title", max_length=8, tokenizer=str(folder))
    vocabulary = source.spec().vocabulary
    config = DataConfig(manifest="m.csv", modalities={"title": source})
    texts = ("go left", "naïve 🎉 \x1b[31m", "[MASK] [PAD]", "x" * 500, "", "\ud800")
    dataset = FileDataset(config, [{"title": text} for text in texts])
    check_items(dataset, range(len(texts)), config)
    for text in texts[:4]:
        try:
            ids = source.load(text)
        except ValueError:
            continue
        if not (int(ids.min()) >= 0 and int(ids.max()) < vocabulary):
            raise FaultError(f"{text!r:.20} has an id outside of the {vocabulary} that there are: {ids.tolist()}")


def make_runs(folder: Path) -> None:
    """A finished run each of a plain and of a learned table, with the data that it was trained on."""
    for name, train in {
        "plain": {},
        "learned": {"views": "learned", "epochs": 4, "learn_views": {"budget": 0.5}},
    }.items():
        recipe = load_recipe(make_project(folder / name, **train))
        fit(recipe, folder / name / "run")
        shutil.rmtree(folder / name / "run" / "checkpoints")


def read_runs(folder: Path) -> None:
    """Load a finished run, evaluate it and have it label a file."""
    run = Run.load(folder / "run")
    feature = str(next(folder.glob("*.npy")))
    predict(run, [dict.fromkeys(run.recipe.data.modalities, feature), feature], device="cpu")
    evaluate(run, device="cpu")
    if one_in(5, folder):
        command("predict", folder / "run", feature)
        command("evaluate", folder / "run")
    if one_in(5, folder):
        command("train", folder / "clips.yaml", "--run", folder / "run", "--resume")


def make_predictors(folder: Path) -> None:
    """Models by themselves, each beside a file that it answers."""
    for task in ("multiclass", "ordinal"):
        project = folder.parent / f"project-{task}"
        fit(load_recipe(make_project(project, task, epochs=1)), project / "run")
        shutil.copytree(project / "run" / "model", folder / task)
        shutil.copy(project / "test1_motion.npy", folder / task)


def read_predictors(folder: Path) -> None:
    model = from_pretrained(folder)
    feature = str(next(folder.glob("*.npy")))
    model.predict([dict.fromkeys(model.data.modalities, feature)], device="cpu")
    if one_in(5, folder):
        command("predict", folder, f"motion={feature}")


def make_checkpoints(folder: Path) -> None:
    """A run that was stopped after its first epoch, and one that was stopped while it was being exported."""
    for name, epochs in {"begun": 1, "done": 2}.items():
        fit(load_recipe(make_project(folder / name, epochs=epochs)), run := folder / name / "run")
        shutil.rmtree(run / "model")
        (run / "summary.json").unlink()
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["train"]["epochs"] = 2
        (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        make_project(folder / name, epochs=2)


def read_checkpoints(folder: Path) -> None:
    """Go on with a run."""
    if one_in(5, folder):
        command("train", folder / "clips.yaml", "--run", folder / "run", "--resume")
        return
    fit(load_recipe(folder / "clips.yaml"), folder / "run", resume=True)


DATA = (".npy", "clips.csv", "clips.yaml")
TARGETS = [
    Target("models", make_models, read_models),
    Target("pretrained", make_pretrained, read_pretrained),
    Target("tokenizers", make_tokenizers, read_tokenizers),
    Target("runs", make_runs, read_runs, whole=(*DATA, ".safetensors")),
    Target("predictors", make_predictors, read_predictors, whole=(".npy", ".safetensors", "README.md")),
    Target("checkpoints", make_checkpoints, read_checkpoints, whole=(*DATA, "bad_samples.jsonl")),
]
