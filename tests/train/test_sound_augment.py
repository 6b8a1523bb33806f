"""Noise and the like in the sound of training clips: at the level asked for, new in every epoch, drawn again alike."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from locomt.data import BadSample, DataConfig, ManifestDataset, Sample
from locomt.data.shards.prepare import prepare
from locomt.nn.config import ConfigError
from locomt.train import fit, load_recipe
from locomt.train.augment_config import AugmentConfig
from locomt.train.config import RecipeError, TrainConfig
from locomt.train.datamodule import SplitsModule
from locomt.train.noise import Clips, Folder, stretch
from locomt.train.recipe import Recipe
from locomt.train.sound_augment import ChangedSound, mixed, played_at, shifted
from media_clips import tone, write_audio
from shard_clips import EXACT

RATE = 8000
AUDIO = {"kind": "audio", "column": "clip", "seconds": 0.5, "rate": RATE, "mels": 16, "mean": 0.0, "std": 1.0}


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe of tones, six of them for training, and a folder `hum` of other sound."""
    folder = tmp_path / "project"
    (folder / "hum").mkdir(parents=True)
    (folder / "hum" / "README.txt").write_text("hum")
    for number, hertz in enumerate((50, 60)):
        write_audio(folder / "hum" / f"{number}.wav", tone(0.3 + number, 16000, hertz)[None], 16000)
    with (folder / "clips.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "split", "label", "clip"])
        for number in range(9):
            write_audio(folder / f"{number}.wav", tone(0.3 + number / 30, RATE, 300 + 100 * number)[None], RATE)
            rows.writerow([number, "train" if number < 6 else "val", "ab"[number % 2], f"{number}.wav"])
    model = {"dim": 16, "heads": 2, "depth": 2, "fusion_layers": 1, "fusion": "selfall"}

    def make(overrides: str = "", **augment: Any) -> Recipe:
        data = {"manifest": "clips.csv", "modalities": {"audio": AUDIO}}
        train = {"epochs": 2, "batch_size": 2, "tensorboard": False, "accelerator": "cpu", "augment": augment}
        path = folder / "clips.yaml"
        path.write_text(yaml.safe_dump({"model": model, "data": data, "train": train}))
        return load_recipe(path, overrides)

    return make


def heard(recipe: Recipe, epoch: int = 0) -> dict[str, Tensor]:
    """The spectrograms of an epoch's samples as the loader gives them, by id."""
    splits = SplitsModule(recipe, ["a", "b"])
    splits.start = (epoch, 0)
    loader = splits.train_dataloader()
    return {
        name: spectrogram[:length]
        for batch in loader
        for name, spectrogram, length in zip(batch.ids, batch.inputs["audio"], batch.lengths["audio"], strict=True)
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@given(
    decibels=st.floats(-30, 40),
    silence=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    loudness=st.floats(1e-3, 1),
    seed=st.integers(0, 99),
)
def test_the_ratio_on_what_is_heard_is_that_asked_for(
    decibels: float, silence: tuple[int, int], loudness: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sound = torch.from_numpy(loudness * rng.normal(size=800)).float()
    clip = torch.cat([torch.zeros(silence[0]), sound, torch.zeros(silence[1])])
    noise = torch.from_numpy(rng.normal(size=len(clip))).float()
    added = (mixed(clip, noise, decibels).double() - clip.double())[silence[0] :][:800]
    ratio = 10 * math.log10(float(sound.double().square().mean() / added.square().mean()))
    assert ratio == pytest.approx(decibels, abs=0.01)


def test_there_is_no_ratio_to_silence() -> None:
    sound, silence = torch.ones(5), torch.zeros(5)
    assert torch.equal(mixed(silence, sound, 0), silence)
    assert torch.equal(mixed(sound, silence, 0), sound)


@pytest.mark.parametrize("noise", ["white", "clips", "hum"])
def test_the_ratio_of_real_files_is_that_asked_for(project: Callable[..., Recipe], noise: str) -> None:
    """By the waves that the spectrograms are made of, of noise of every kind."""
    recipe = project(noise=noise, noise_db=[5, 5])
    dataset = ManifestDataset(recipe.data, "train", ["a", "b"])
    changed = ChangedSound(dataset, recipe.train.augment, 0)
    for row in range(len(dataset)):
        clean = dataset.sound(row, "audio")
        assert clean is not None
        noisy = changed._change(row, np.random.default_rng(row), "audio", clean)
        ratio = clean.double().square().mean() / (noisy.double() - clean.double()).square().mean()
        assert 10 * math.log10(float(ratio)) == pytest.approx(5, abs=0.01)
        sample = changed[row, 0, row]
        assert isinstance(sample, Sample)
        plain = dataset[row]
        assert isinstance(plain, Sample)
        assert sample.inputs["audio"].shape == plain.inputs["audio"].shape
        assert not torch.equal(sample.inputs["audio"], plain.inputs["audio"])


def test_noise_of_a_folder_is_its_files_at_the_rate_of_the_modality(project: Callable[..., Recipe]) -> None:
    recipe = project(noise="hum")
    assert Path(recipe.train.augment.noise).is_absolute()
    noise = Folder(Path(recipe.train.augment.noise), ManifestDataset(recipe.data, "train"))
    assert [file.name for file in noise.files] == ["0.wav", "1.wav"]
    loudest = set()
    for seed in range(10):
        drawn = noise.draw(0, "audio", RATE, np.random.default_rng(seed))
        loudest.add(int(torch.fft.rfft(drawn).abs().argmax()))  # of a second: in Hz
    assert loudest <= {49, 50, 51, 60}
    assert 60 in loudest
    assert len(loudest) > 1


def test_babble_is_the_sum_of_several_other_clips(project: Callable[..., Recipe]) -> None:
    """Every clip is a tone of its own: 300 to 800 Hz."""
    dataset = ManifestDataset(project(noise="clips").data, "train", ["a", "b"])
    counts = set()
    for seed in range(20):
        babble = Clips(dataset).draw(2, "audio", 2000, np.random.default_rng(seed))
        power = torch.fft.rfft(babble)[[25 * (3 + clip) for clip in range(6)]].abs()  # bins of 4 Hz
        assert power[2] < 0.2 * power.max()  # not its own
        counts.add(int((power > 0.3 * power.max()).sum()))
    assert max(counts) >= 3


def test_babble_passes_over_clips_without_sound(project: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = project(noise="clips")
    for number in range(1, 5):
        (tmp_path / "project" / f"{number}.wav").write_bytes(b"damaged")
    dataset = ManifestDataset(recipe.data, "train", ["a", "b"])
    changed = ChangedSound(dataset, recipe.train.augment, 0)
    assert isinstance(changed[0, 0, 0], Sample)
    (tmp_path / "project" / "5.wav").write_bytes(b"damaged")
    bad = changed[0, 0, 0]
    assert isinstance(bad, BadSample)
    assert "in one of 20 other clips" in bad.reason


def test_what_is_drawn_depends_on_the_epoch_and_the_place_alone(project: Callable[..., Recipe]) -> None:
    recipe = project(noise="clips", gain=3.0, shift=0.05, speed=0.1)
    first = heard(recipe)
    assert same(first, heard(recipe))
    assert same(first, heard(project("--data.workers 2", noise="clips", gain=3.0, shift=0.05, speed=0.1)))
    assert same(first, heard(project("--data.cache true", noise="clips", gain=3.0, shift=0.05, speed=0.1)))
    second = heard(recipe, epoch=1)
    assert not any(torch.equal(first[name], second[name]) for name in first)
    other = heard(project("--train.seed 1", noise="clips", gain=3.0, shift=0.05, speed=0.1))
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_a_cache_keeps_the_sound_and_not_its_noise(project: Callable[..., Recipe]) -> None:
    recipe = project("--data.cache true", noise="white")
    for epoch in (0, 1, 0):
        assert same(heard(recipe, epoch), heard(project(noise="white"), epoch))


def test_crops_are_those_of_a_run_without_noise_and_the_noise_is_in_them(project: Callable[..., Recipe]) -> None:
    """At 100 dB there is next to none."""
    crops = "--data.crop 0.1"
    clean, still = heard(project(crops)), heard(project(crops, noise="white", noise_db=[100, 100]))
    for name in clean:
        assert (clean[name].exp() - still[name].exp()).abs().max() < 1e-3 * clean[name].exp().max()
    loud = heard(project(crops, noise="white", noise_db=[0, 0]))
    assert all((loud[name].mean() - clean[name].mean()) > 1 for name in clean)


def test_shards_give_the_same_noise_as_files(project: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = project(noise="clips", speed=0.2)
    prepare(recipe.data, tmp_path / "shards", EXACT)
    stored = project(f"--data.manifest {tmp_path / 'shards' / 'shards.json'}", noise="clips", speed=0.2)
    assert same(heard(recipe), heard(stored))


def test_some_sounds_have_no_noise(project: Callable[..., Recipe]) -> None:
    clean = heard(project())
    some = heard(project(noise="white", noise_probability=0.5))
    assert 0 < sum(torch.equal(clean[name], some[name]) for name in clean) < len(clean)


def test_gain_moves_all_of_a_log_mel_spectrogram(project: Callable[..., Recipe]) -> None:
    clean, louder = heard(project()), heard(project(gain=6.0))
    moved = set()
    for name in clean:
        difference = (louder[name] - clean[name])[clean[name] > -5]
        assert difference.max() - difference.min() < 0.01
        moved.add(round(float(difference.mean()) * 10 / math.log(10), 3))
    assert len(moved) == len(clean)
    assert all(-6 <= decibels <= 6 for decibels in moved)


@given(by=st.integers(-12, 12))
def test_what_is_moved_leaves_silence(by: int) -> None:
    samples = torch.arange(1.0, 11)
    wanted = [samples[place - by] if 0 <= place - by < 10 else 0 for place in range(10)]
    assert shifted(samples, by).tolist() == wanted


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25])
def test_a_tone_played_faster_is_shorter_and_higher(speed: float) -> None:
    played = played_at(torch.from_numpy(tone(1, RATE, 400)).float(), speed)
    assert len(played) == round(RATE / speed)
    wanted = torch.from_numpy(tone(1 / speed, RATE, 400 * speed)).float()
    assert (played - wanted).abs().max() < 0.02
    assert int(torch.fft.rfft(played).abs().argmax()) == 400


@given(length=st.integers(1, 30), have=st.integers(1, 30), seed=st.integers(0, 9))
def test_a_stretch_goes_on_at_the_beginning(length: int, have: int, seed: int) -> None:
    found = stretch(torch.arange(have), length, np.random.default_rng(seed)).tolist()
    assert found == [(found[0] + step) % have for step in range(length)]
    assert len(found) == length


class PowerCutError(Exception):
    """Stands for whatever ends a process."""


def test_a_resumed_run_draws_the_same_noise(project: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = project("--train.learning_rate 0.01", noise="clips", noise_db=[-5, 5])

    def stop(done: int, total: int) -> None:
        if done == 4:  # of three steps an epoch
            raise PowerCutError

    fit(recipe, tmp_path / "whole")
    with pytest.raises(PowerCutError):
        fit(recipe, tmp_path / "stopped", on_step=stop)
    fit(recipe, tmp_path / "stopped", resume=True)
    fit(project("--train.learning_rate 0.01"), tmp_path / "clean")
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("whole", "stopped", "clean")]
    assert weights[0] == weights[1] != weights[2]


def test_what_cannot_be_is_refused(project: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"noise_db: expected two numbers of decibels, the lower first.*\[9, 1\]"):
        project(noise="white", noise_db=[9, 1])
    with pytest.raises(RecipeError, match=r"noise_probability: expected \[0, 1\], got 2"):
        project(noise="white", noise_probability=2)
    lips = {"lips": {"kind": "features", "column": "lips", "dim": 3, "max_length": 4}}
    with pytest.raises(ConfigError, match=r"augment.noise: expected a modality of kind audio, got features"):
        Recipe(data=DataConfig(manifest="a.csv", modalities=lips), train=project(noise="white").train)
    missing = project(noise="none")
    with pytest.raises(ConfigError, match=r"expected white, clips or a folder of sound files, got .*none$"):
        SplitsModule(missing, ["a", "b"])
    (tmp_path / "project" / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no sound file"):
        SplitsModule(project(noise="empty"), ["a", "b"])


def test_a_damaged_file_of_noise_is_named(project: Callable[..., Recipe], tmp_path: Path) -> None:
    for file in (tmp_path / "project" / "hum").glob("*.wav"):
        file.write_bytes(b"damaged")
    recipe = project(noise="hum")
    bad = ChangedSound(ManifestDataset(recipe.data, "train", ["a", "b"]), recipe.train.augment, 0)[0, 0, 0]
    assert isinstance(bad, BadSample)
    assert "hum" in bad.file


def test_a_folder_of_noise_is_kept_beside_the_run(project: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = project(noise="hum", noise_db=[1, 2.5])
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "config.yaml").write_text(recipe.to_yaml(tmp_path / "runs"))
    assert "noise: ../project/hum" in (tmp_path / "runs" / "config.yaml").read_text()
    assert load_recipe(tmp_path / "runs" / "config.yaml") == recipe
    (tmp_path / "runs" / "origin").write_text("somebody else's")
    mine = ["--data.manifest", recipe.data.manifest]
    with pytest.raises(RecipeError, match=r"train\.augment\.noise is '.*hum', outside of this run's folder"):
        load_recipe(tmp_path / "runs" / "config.yaml", mine)
    mine += ["--train.augment.noise", recipe.train.augment.noise]
    assert load_recipe(tmp_path / "runs" / "config.yaml", mine) == recipe


def test_one_modality_alone_is_trained_without_what_is_for_sound() -> None:
    lips = {"kind": "features", "column": "lips", "dim": 3, "max_length": 4}
    data = DataConfig(manifest="a.csv", modalities={"audio": AUDIO, "lips": lips})
    recipe = Recipe(data=data, train=TrainConfig(augment={"noise": "white", "mixup": 0.5}))
    assert recipe.only("lips").train.augment == AugmentConfig(mixup=0.5)
    assert recipe.only("audio").train.augment == recipe.train.augment
