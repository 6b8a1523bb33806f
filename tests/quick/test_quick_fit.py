"""`locomt.fit`: clips in folders to a model, once for all tests."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import locomt
from locomt.cli.main import main
from locomt.demo.clips import (
    AUDIO_ENCODERS,
    COLOURS,
    TONES,
    VIDEO_ENCODERS,
    Clips,
    draw_frames,
    draw_sound,
    encode_clip,
)
from locomt.demo.clips import _encoder as encoder
from locomt.quick import sizes
from locomt.quick.quick_fit import Fitted

CLASSES = {"alarm": ("red", "low"), "kettle": ("green", "high")}
EACH = 5


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, settings = tmp_path_factory.mktemp("fit") / "clips", Clips(size=32, frames=8)
    for place, (name, (colour, tone)) in enumerate(CLASSES.items()):
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            random = np.random.default_rng((place, number))
            frames, sound = draw_frames(settings, COLOURS[colour], random), draw_sound(settings, TONES[tone], random)
            video, audio = encoder(VIDEO_ENCODERS), encoder(AUDIO_ENCODERS)
            encode_clip(root / name / f"{number}.mp4", frames, sound, settings, video, audio)
    return root


@pytest.fixture(scope="module")
def fitted(short_timing: None, clips: Path) -> Fitted:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "MOST_EPOCHS", 2)
        patch.setattr(sizes, "FEWEST_EPOCHS", 2)
        return locomt.fit(clips, clips.parent / "out")


def test_each_modality_and_the_fused_model_are_compared(fitted: Fitted) -> None:
    scores = fitted.results["scores"]
    assert list(scores) == ["video", "audio", "locomt", "locomt from its parts"]
    assert fitted.results["chosen"] == min(scores, key=lambda name: scores[name]["val"])  # by loss: few samples
    assert fitted.results["judge"] == "val_loss"
    assert fitted.results["baselines"][0]["value"] == 0.5
    assert json.loads((fitted.path / "fit.json").read_text())["scores"] == scores


def test_the_kept_model_answers(fitted: Fitted, clips: Path) -> None:
    one, two = clips / "alarm" / "0.mp4", clips / "kettle" / "0.mp4"
    assert [len(answer["predictions"]) for answer in fitted.predict([one, two])] == [2, 2]
    assert fitted.predict(str(one)) == fitted.predict(one)
    chosen = fitted.results["scores"][fitted.results["chosen"]]
    assert fitted.evaluate()["metrics"]["accuracy"] == chosen["test"]
    page = fitted.report().read_text()
    for part in (
        "is kept: the best val_loss",
        "All models",
        "What was taken for what",
        "Calibration",
        "locomt predict",
    ):
        assert part in page
    assert page.count("data:image/jpeg") >= 2  # of the test split
    assert len(repr(fitted)) < 200


def test_the_recipe_trains_the_kept_model_once_more(fitted: Fitted, tmp_path: Path) -> None:
    assert main(["train", str(fitted.path / "recipe.yaml"), "--run", str(tmp_path / "again")]) == 0
    kept, again = (
        load_file(run / "model" / "model.safetensors")
        for run in (fitted.path / fitted.results["run"], tmp_path / "again")
    )
    assert kept.keys() == again.keys()
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_what_is_done_is_found(fitted: Fitted, clips: Path) -> None:
    again = locomt.fit(clips, fitted.path)
    assert all(run["seconds"] == 0 for run in again.results["runs"])
    assert again.results["scores"] == fitted.results["scores"]
    with pytest.raises(ValueError, match="holds a fit with seed 0, now it is 1"):
        locomt.fit(clips, fitted.path, seed=1)


def test_the_folder_can_be_used_as_a_run(fitted: Fitted) -> None:
    assert locomt.Run.load(fitted.path).path.samefile(fitted.run.path)
    assert locomt.from_pretrained(fitted.run.path).labels == fitted.run.labels


def test_another_source_than_before_is_refused(fitted: Fitted, clips: Path) -> None:
    more = clips / "zzz"
    more.mkdir()
    try:
        shutil.copy(next(clips.rglob("*.mp4")), more / "one-more.mp4")
        with pytest.raises(ValueError, match=r"has 1 samples that .*manifest\.csv lacks"):
            locomt.fit(clips, fitted.path)
    finally:
        shutil.rmtree(more)


def test_few_samples_are_said_to_say_little(fitted: Fitted) -> None:
    assert any("one seed" in line for line in fitted.results["cautions"])


def test_training_on_a_folder_names_fit(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(clips)]) == 2
    assert capsys.readouterr().err == (
        f"locomt train: expected a recipe, got the folder {clips}; use: locomt fit {clips}\n"
    )


def test_command_names_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "expected a folder of clips or a table of them" in capsys.readouterr().err
