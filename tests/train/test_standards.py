"""Standardised inputs: by the statistics of the training split, which the model keeps, whatever the padding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_project import read_rows
from locomt import FusionModel
from locomt.data import Batch, DataConfig, ManifestDataset, Sample
from locomt.nn import AudioSpec, FeatureSpec
from locomt.nn.config import Architecture, FusionConfig
from locomt.nn.embedding import ModalityEmbedding
from locomt.nn.standard import Standard
from locomt.train import evaluate, fit, load_recipe, predict
from locomt.train.augment import Augment
from locomt.train.augment_config import AugmentConfig
from locomt.train.config import RecipeError, TrainConfig
from locomt.train.evaluation import Run
from locomt.train.pretrained_input import differences
from locomt.train.recipe import Recipe
from locomt.train.standards import Moments, fill_standards, standards_of
from media_clips import tone, write_audio

ON = ["--data.modalities.motion.standardise", "true"]


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_moments_are_those_of_numpy(lengths: list[int], seed: int) -> None:
    """Also far from 0, where sums of squares would be lost."""
    rng = np.random.default_rng(seed)
    parts = [(1e4 + rng.normal(size=(length, 3))).astype(np.float32) for length in lengths]
    moments = Moments(3)
    for part in parts:
        moments.add(torch.from_numpy(part))
    whole = np.concatenate(parts).astype(np.float64)
    np.testing.assert_allclose(moments.mean.numpy(), whole.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std.numpy(), whole.std(axis=0), rtol=1e-6, atol=1e-9)


def vectors(folder: Path, split: str) -> np.ndarray:
    rows = [row for row in read_rows(folder) if row["split"] == split]
    return np.concatenate([np.load(folder / row["motion"])[:4] for row in rows]).astype(np.float64)


def test_a_run_keeps_the_statistics_of_its_training_split(project: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(load_recipe(project, ON), run)
    model = FusionModel.from_pretrained(run / "model")
    standards = standards_of(model)
    assert set(standards) == {"motion"}
    whole = vectors(project.parent, "train")
    np.testing.assert_allclose(standards["motion"].mean.numpy(), whole.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(standards["motion"].std.numpy(), whole.std(axis=0), rtol=1e-5)
    moved = evaluate(Run.load(run), "test", device="cpu")
    for row in read_rows(project.parent):  # another manifest's statistics do not change what the model says
        if row["split"] == "train":
            np.save(project.parent / row["motion"], 100 * np.load(project.parent / row["motion"]))
    assert evaluate(Run.load(run), "test", device="cpu") == moved
    file = project.parent / read_rows(project.parent)[-1]["motion"]
    (answer,) = predict(Run.load(run), [{"motion": file}])
    inputs = {"motion": torch.from_numpy(np.load(file)[None, :4])}
    scores = model(inputs).detach().softmax(dim=1)[0]
    assert answer["predictions"][0]["score"] == pytest.approx(float(scores.max()), abs=1e-5)


def test_units_of_a_feature_do_not_matter(project: Path, tmp_path: Path) -> None:
    """A power of 2 is exact."""
    plain = fit(load_recipe(project, ON), tmp_path / "plain")
    for row in read_rows(project.parent):
        file = project.parent / row["motion"]
        np.save(file, np.load(file) * np.float32(1024))
    scaled = fit(load_recipe(project, ON), tmp_path / "scaled")
    assert {**plain, "seconds": 0} == {**scaled, "seconds": 0}


def test_a_run_goes_on_from_another_with_its_statistics(project: Path, tmp_path: Path) -> None:
    fit(load_recipe(project, ON), tmp_path / "first")
    known = standards_of(FusionModel.from_pretrained(tmp_path / "first" / "model"))["motion"]
    for row in read_rows(project.parent):
        file = project.parent / row["motion"]
        np.save(file, 5 + np.load(file))
    fit(load_recipe(project, [*ON, "--train.start", str(tmp_path / "first")]), tmp_path / "second")
    after = standards_of(FusionModel.from_pretrained(tmp_path / "second" / "model"))["motion"]
    assert torch.equal(known.mean, after.mean)
    assert torch.equal(known.std, after.std)


def test_a_number_that_never_changes_becomes_0() -> None:
    moments, standard = Moments(2), Standard(2)
    for value in (0.1, 0.1, 0.1):
        moments.add(torch.tensor([[value, 1.0], [value, 2.0]]))
    standard.set(moments.mean, moments.std)
    assert standard(torch.tensor([[[0.1, 2.0]]]))[0, 0].tolist() == pytest.approx([0, 1], abs=1e-6)
    assert float(standard(torch.tensor([[[3.1, 2.0]]]))[0, 0, 0]) == pytest.approx(3)


@pytest.mark.parametrize(
    "spec",
    [FeatureSpec(dim=3, max_length=9, standardise=True), AudioSpec(frames=12, mels=4, patch=4, standardise=True)],
)
@pytest.mark.parametrize("length", [1, 5, 9])
def test_padding_has_no_share_in_it(spec: Any, length: int) -> None:
    embedding = ModalityEmbedding(spec, 8).eval()
    assert embedding.standard is not None
    width = spec.standardised
    embedding.standard.set(torch.arange(1.0, width + 1), torch.arange(2.0, width + 2))
    inputs = torch.randn(1, length, width)
    padded = torch.cat([inputs, torch.zeros(1, spec.max_steps - length, width)], dim=1)
    alone, beside = embedding(inputs), embedding(padded, torch.tensor([length]))
    torch.testing.assert_close(beside[:, : alone.shape[1]], alone, rtol=0, atol=1e-5)


def test_the_bands_of_a_spectrogram(tmp_path: Path) -> None:
    for number in range(3):
        write_audio(tmp_path / f"{number}.wav", tone(0.2 + number / 10, 8000, 300 + 500 * number)[None], 8000)
    (tmp_path / "clips.csv").write_text("id,split,label,clip\n" + "".join(f"{n},train,a,{n}.wav\n" for n in range(3)))
    audio = {"kind": "audio", "column": "clip", "seconds": 1, "rate": 8000, "mels": 16, "standardise": True}
    data = DataConfig(manifest=str(tmp_path / "clips.csv"), modalities={"audio": audio}, labels=["a", "b"])
    dataset = ManifestDataset(data, "train", ["a", "b"])
    model = FusionModel(Recipe(data=data, model=Architecture(fusion="selfall")).fusion_config(["a", "b"]))
    fill_standards(model, dataset)
    samples = [dataset[index] for index in range(3)]
    whole = np.concatenate([sample.inputs["audio"].numpy() for sample in samples if isinstance(sample, Sample)])
    standard = standards_of(model)["audio"]
    np.testing.assert_allclose(standard.mean.numpy(), whole.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(standard.std.numpy(), whole.std(axis=0, dtype=np.float64), rtol=1e-5)


def test_what_is_masked_is_the_mean() -> None:
    audio = DataConfig(
        manifest="a.csv", modalities={"audio": {"kind": "audio", "column": "c", "mels": 16, "standardise": True}}
    )
    standard = Standard(16)
    standard.set(torch.arange(1.0, 17), torch.ones(16))
    spectrograms, lengths = torch.randn(4, 100, 16), torch.full((4,), 100)
    batch = Batch({"audio": spectrograms}, {"audio": lengths}, torch.zeros(4, dtype=torch.long), list("abcd"))
    masked = Augment(AugmentConfig(time_masks=2), audio, 2, 0, {"audio": standard})(batch, 0).inputs["audio"]
    changed = (masked != spectrograms).any(dim=2)
    assert changed.any()
    assert torch.equal(masked[changed], standard.mean.expand(int(changed.sum()), 16))


def test_what_cannot_be_standardised_is_refused(project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(project, ON)
    for row in read_rows(project.parent):
        (project.parent / row["motion"]).unlink()
    dataset = ManifestDataset(recipe.data, "train", ["left", "right", "up"])
    with pytest.raises(
        RecipeError, match=r"motion.standardise: expected samples of split 'train' that have it, got none"
    ):
        fill_standards(FusionModel(recipe.fusion_config(["left", "right", "up"])), dataset)
    audio = {"kind": "audio", "column": "c", "standardise": True}
    with pytest.raises(RecipeError, match=r"audio.standardise: its checkpoint in train.pretrained was trained"):
        differences(
            Recipe(
                data=DataConfig(manifest="a.csv", modalities={"audio": audio}),
                train=TrainConfig(pretrained={"audio": "ast"}),
            )
        )


def test_a_model_that_was_saved_before_there_was_the_field() -> None:
    plain = FusionConfig(modalities={"a": FeatureSpec(dim=3, max_length=2)}, num_outputs=2, fusion="selfall")
    values = plain.to_dict()
    del values["modalities"]["a"]["standardise"]
    assert FusionConfig.from_dict(values) == plain
    assert not [name for name in FusionModel(plain).state_dict() if "standard" in name]
