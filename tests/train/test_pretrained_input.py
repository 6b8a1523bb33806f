"""A checkpoint's own preprocessing beside the recipe's: named, refused or taken over."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

from feature_project import write_manifest
from locomt.cli.main import main
from locomt.train import fit, load_recipe
from locomt.train.config import RecipeError
from locomt.train.pretrained_input import differences
from media_clips import write_audio

SOUND = {"sampling_rate": 16000, "num_mel_bins": 64, "max_length": 100, "mean": -2.5, "std": 3.0}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LIKE = {"seconds": 1.0, "mels": 64, "filterbank": "kaldi", "mean": -2.5, "std": 6.0}


class Project:
    """A recipe with a ViT and an AST beside it, of which only what is asked for here is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, kind in (("vit", "vit"), ("ast", "audio-spectrogram-transformer")):
            (folder / name).mkdir()
            (folder / name / "config.json").write_text(json.dumps({"model_type": kind, "image_size": 48}))
        write_manifest(folder, [{"id": str(i), "split": "train", "label": "ab"[i % 2], "clip": ""} for i in range(4)])

    def says(self, name: str, **values: Any) -> None:
        (self.folder / name / "preprocessor_config.json").write_text(json.dumps(values))

    def recipe(self, *overrides: str, audio: dict[str, Any] | None = None, **video: Any) -> Any:
        sources = {
            "video": {"kind": "video", "column": "clip", "frames": 1, "size": 48, **video},
            "audio": {"kind": "audio", "column": "clip", **(LIKE if audio is None else audio)},
        }
        path = self.folder / "clips.yaml"
        values = {
            "data": {"manifest": "clips.csv", "modalities": sources},
            "train": {"pretrained": {"video": "vit", "audio": "ast"}},
        }
        path.write_text(yaml.safe_dump(values))
        return load_recipe(path, overrides)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_nothing_is_said_where_nothing_differs_or_is_known(project: Project) -> None:
    assert differences(project.recipe(audio={})) == []  # no checkpoint says anything
    project.says("ast", **SOUND)
    project.says("vit", size=48, image_mean=[0.1, 0.2, 0.3], image_std=[0.2, 0.2, 0.2])  # folded into the patches
    assert differences(project.recipe()) == []
    assert differences(project.recipe(audio=LIKE | {"mean": -2.501, "std": 6.001})) == []  # as papers round them


def test_every_difference_is_named_in_one_line(project: Project) -> None:
    project.says("ast", **SOUND)
    project.says("vit", size={"height": 224, "width": 224})
    audio, video = sorted(differences(project.recipe(audio={})))
    assert "vit was trained with size 224 (here 48); set those of data.modalities.video to auto" in video
    assert "ast was trained with mels (num_mel_bins) 64 (here 128), seconds (max_length, in frames) 100 (here" in audio
    assert "mean -2.5 (here -4.27), std (twice that of its file) 6 (here 4.57), filterbank kaldi (here htk)" in audio
    assert "\n" not in video + audio
    (only,) = differences(project.recipe(audio=LIKE | {"std": 3.0}, size=224))
    assert "ast was trained with std (twice that of its file) 6 (here 3); set" in only


def test_another_rate_is_refused(project: Project) -> None:
    project.says("ast", **SOUND | {"sampling_rate": 44100})
    with pytest.raises(RecipeError, match=r"ast was trained on sound of 44100 .*audio\.rate is 16000; set it to 44100"):
        differences(project.recipe())
    assert differences(project.recipe(audio=LIKE | {"rate": "auto"})) == []


def test_auto_takes_the_checkpoints_values_over(project: Project) -> None:
    project.says("ast", **SOUND | {"sampling_rate": 22050})
    project.says("vit", size={"shortest_edge": 256}, crop_size=224, do_center_crop=True)
    names = ("rate", "mels", "mean", "std", "seconds", "filterbank", "hop_ms", "window_ms")
    recipe = project.recipe(audio=dict.fromkeys(names, "auto"), size="auto")
    found = recipe.data.modalities["audio"]
    assert [getattr(found, name) for name in names] == [22050, 64, -2.5, 6.0, 1.0, "kaldi", 10.0, 25.0]
    assert recipe.data.modalities["video"].size == 224
    assert differences(recipe) == []
    saved = yaml.safe_load(recipe.to_yaml(project.folder))
    assert saved["data"]["modalities"]["audio"]["rate"] == 22050  # the run needs the checkpoint no more
    (project.folder / "vit" / "preprocessor_config.json").unlink()
    assert project.recipe("--data.modalities.video.size", "auto").data.modalities["video"].size == 48  # its config.json


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
def test_auto_makes_of_a_sound_what_the_librarys_extractor_makes(project: Project, tmp_path: Path) -> None:
    ASTFeatureExtractor(**SOUND).save_pretrained(project.folder / "ast")
    source = project.recipe(audio=dict.fromkeys(("mels", "mean", "std", "seconds", "filterbank"), "auto"))
    samples = np.random.default_rng(0).normal(size=16000).astype(np.float32) / 8
    ours = source.data.modalities["audio"].load(write_audio(tmp_path / "a.wav", samples[None], 16000, "pcm_f32le"))
    theirs = ASTFeatureExtractor(**SOUND)(samples, sampling_rate=16000, return_tensors="pt")["input_values"][0]
    theirs = theirs[: len(ours)]  # the rest is padding
    torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-4)


def test_train_says_what_differs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": str(i), "split": "train", "label": "ab"[i % 2], "clip": f"{i}.wav"} for i in range(4)]
    for row in rows:
        samples = np.random.default_rng(int(row["id"])).normal(size=5200).astype(np.float32) / 8
        write_audio(tmp_path / row["clip"], samples[None], 16000)
    write_manifest(tmp_path, rows)
    sizes = {"max_length": 32, "num_mel_bins": 16, "patch_size": 8, "time_stride": 5, "frequency_stride": 5}
    ASTModel(ASTConfig(**sizes, **SIZES)).save_pretrained(tmp_path / "ast")
    said = {"sampling_rate": 16000, "num_mel_bins": 16, "max_length": 32, "mean": -3.0, "std": 2.0}
    (tmp_path / "ast" / "preprocessor_config.json").write_text(json.dumps(said))
    audio = {"kind": "audio", "column": "clip", "seconds": 0.32, "mels": 16, "patch": 8, "stride": 5}
    audio |= {"class_tokens": 2, "mean": -3.0, "filterbank": "kaldi"}
    recipe = {
        "model": {"dim": 16, "heads": 2, "depth": 2, "mlp_ratio": 2.0, "norm_eps": 1e-12, "fusion_layers": 1},
        "data": {"manifest": "clips.csv", "modalities": {"audio": audio}},
        "train": {
            "epochs": 1,
            "batch_size": 4,
            "tensorboard": False,
            "accelerator": "cpu",
            "pretrained": {"audio": "ast"},
        },
    }
    recipe["model"]["fusion"] = "selfall"
    path = tmp_path / "clips.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with caplog.at_level(logging.WARNING, "locomt"):
        fit(load_recipe(path), tmp_path / "run")
    (line,) = [record.message for record in caplog.records if "was trained with" in record.message]
    assert "ast was trained with std (twice that of its file) 4 (here 4.57); set" in line
    said["sampling_rate"] = 8000
    (tmp_path / "ast" / "preprocessor_config.json").write_text(json.dumps(said))
    assert main(["train", str(path), "--run", str(tmp_path / "again")]) == 2
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("audio", "pretrained", "message"),
    [
        ({"mean": "auto"}, "{video: vit}", r"audio\.mean: auto .* train\.pretrained names none for 'audio'"),
        ({"mean": "auto"}, "{audio: vit}", r"audio\.mean: .*vit does not say"),
        ({"mean": "auto"}, "{audio: ast}", r"audio\.mean: .*ast does not say.* it has no preprocessor_config\.json"),
        ({"patch": "auto"}, "{audio: ast}", r"audio\.patch: .*ast does not say"),
    ],
)
def test_auto_that_stands_for_nothing(project: Project, audio: dict[str, Any], pretrained: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        project.recipe("--train.pretrained", pretrained, audio=audio)


def test_auto_of_pictures_that_are_not_square(project: Project) -> None:
    project.says("vit", size=[224, 200])
    with pytest.raises(RecipeError, match=r"video\.size: .*vit was trained on pictures of 224 x 200, and frames"):
        project.recipe(size="auto")
    assert "size 224 x 200 (here 48)" in differences(project.recipe(audio=LIKE))[0]


def test_a_damaged_file_is_named(project: Project) -> None:
    project.says("ast", **SOUND | {"mean": "x"})
    with pytest.raises(ValueError, match=r"ast/preprocessor_config\.json: mean: expected a number"):
        differences(project.recipe())
    with pytest.raises(RecipeError, match=r"clips\.yaml: .*ast/preprocessor_config\.json: mean: expected a number"):
        project.recipe(audio={"mean": "auto"})
