"""Augmentation: forms kept, nothing done at strength 0, one coefficient for all, the same numbers for the same key."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from locomt.data import Batch, DataConfig
from locomt.data.batch import within_samples
from locomt.nn.config import ConfigError
from locomt.tasks import TASKS
from locomt.train import fit, load_recipe
from locomt.train.augment import Augment
from locomt.train.augment_config import AugmentConfig
from locomt.train.config import RecipeError, TrainConfig
from locomt.train.transforms import AT_ONCE, GREY, crop_sizes, drop_modalities, jitter_frames, mask_spectrograms, mix

CLASSES = 5
EVERYTHING = {
    "mixup": 0.5,
    "time_masks": 2,
    "time_mask": 6,
    "frequency_masks": 1,
    "frequency_mask": 4,
    "color": 0.4,
    "gray": 0.3,
    "scale": 0.4,
    "flip": 0.5,
    "drop_modality": 0.3,
}
MODALITIES: dict[str, Any] = {
    "video": {"kind": "video", "column": "clip", "frames": 4, "size": 16},
    "audio": {"kind": "audio", "column": "clip", "seconds": 0.32, "mels": 16},
    "lips": {"kind": "features", "column": "lips", "dim": 3, "max_length": 6},
}


def data(task: str = "multiclass", **changes: Any) -> DataConfig:
    return DataConfig(**{"manifest": "clips.csv", "task": task, "modalities": MODALITIES, **changes})


def make_batch(size: int, task: str = "multiclass", seed: int = 0, missing: bool = True) -> Batch:
    """Random samples, padded as `collate` pads them; each has one modality at least."""
    rng = np.random.default_rng(seed)
    full = {"video": 4, "audio": 32, "lips": 6}
    lengths = {"video": torch.from_numpy(rng.choice([0, 4] if missing else [4], size))}
    lengths |= {
        name: torch.from_numpy(rng.integers(0 if missing else 1, full[name] + 1, size))
        for name in full
        if name != "video"
    }
    lengths["lips"][sum(lengths.values()) == 0] = 1
    inputs = {
        "video": torch.from_numpy(rng.integers(0, 256, (size, 4, 3, 16, 16), dtype=np.uint8)),
        "audio": torch.from_numpy(rng.normal(size=(size, 32, 16)).astype(np.float32)),
        "lips": torch.from_numpy(rng.normal(size=(size, 6, 3)).astype(np.float32)),
    }
    for name, tensor in inputs.items():
        for sample, length in zip(tensor, lengths[name], strict=True):
            sample[length:] = 0
    labels = {
        "multiclass": torch.from_numpy(rng.integers(0, CLASSES, size)),
        "multilabel": torch.from_numpy(rng.integers(0, 2, (size, CLASSES)).astype(np.float32)),
        "regression": torch.from_numpy(rng.normal(size=(size, 1)).astype(np.float32)),
    }[task]
    return Batch(inputs, lengths, labels, [str(i) for i in range(size)])


def assert_equal(first: Batch, second: Batch) -> None:
    torch.testing.assert_close(
        (first.inputs, first.lengths, first.labels), (second.inputs, second.lengths, second.labels), rtol=0, atol=0
    )
    assert first.ids == second.ids


@settings(max_examples=40)
@given(
    size=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    task=st.sampled_from(["multiclass", "multilabel", "regression"]),
    some=st.sets(st.sampled_from(sorted(EVERYTHING))),
)
def test_a_batch_keeps_its_form_and_every_sample_something(size: int, seed: int, task: str, some: set[str]) -> None:
    batch = make_batch(size, task, seed)
    before = make_batch(size, task, seed)
    config = AugmentConfig(**{name: EVERYTHING[name] for name in some})
    changed = Augment(config, data(task), CLASSES, seed)(batch, 0, 3)
    assert_equal(batch, before)  # the loader's batch is not written to
    for name, tensor in batch.inputs.items():
        assert changed.inputs[name].shape == tensor.shape
        assert changed.inputs[name].dtype == tensor.dtype
        assert changed.lengths[name].dtype == torch.int64
        assert changed.lengths[name].device.type == "cpu"
        padding = torch.arange(tensor.shape[1]) >= changed.lengths[name][:, None]
        if not config.drop_modality and tensor.dtype != torch.uint8:
            assert (changed.inputs[name][padding] == 0).all()
    assert (sum(changed.lengths.values()) > 0).all()
    soft = task == "multiclass" and config.mixup
    assert changed.labels.shape == ((size, CLASSES) if soft else batch.labels.shape)
    if soft:
        torch.testing.assert_close(changed.labels.sum(dim=1), torch.ones(size))
    elif not config.mixup:
        assert torch.equal(changed.labels, batch.labels)


def test_off_by_default() -> None:
    batch = make_batch(4)
    assert AugmentConfig().does_nothing
    assert Augment(AugmentConfig(), data(), CLASSES, 0)(batch, 0, 0) is batch


@pytest.mark.parametrize("name", [n for n in EVERYTHING if n not in ("time_mask", "frequency_mask")])
def test_each_strength_alone_changes_something(name: str) -> None:
    batch = make_batch(8, missing=False)
    changed = Augment(AugmentConfig(**{name: EVERYTHING[name]}), data(), CLASSES, 0)(batch, 0, 0)
    touched = {n for n in batch.inputs if not torch.equal(changed.inputs[n], batch.inputs[n])}
    expected = {"mixup": {"video", "audio", "lips"}, "time_masks": {"audio"}, "frequency_masks": {"audio"}}
    assert touched == expected.get(name, set() if name == "drop_modality" else {"video"})
    shortened = any((changed.lengths[n] < batch.lengths[n]).any() for n in batch.lengths)
    assert shortened == (name == "drop_modality")
    lengthened = any((changed.lengths[n] > batch.lengths[n]).any() for n in batch.lengths)
    assert lengthened == (name == "mixup")


def test_the_key_and_the_seed_settle_every_number() -> None:
    batch, config = make_batch(6), AugmentConfig(**EVERYTHING)
    whole = Augment(config, data(), CLASSES, 7)
    first = [whole(batch, 1, index) for index in range(3)]
    torch.rand(3)
    np.random.rand(3)
    assert_equal(Augment(config, data(), CLASSES, 7)(batch, 1, 2), first[2])  # without what came before it
    for other in (Augment(config, data(), CLASSES, 8)(batch, 1, 2), whole(batch, 2, 2), first[1]):
        assert not torch.equal(other.inputs["lips"], first[2].inputs["lips"])
    state = torch.get_rng_state()
    whole(batch, 5, 5)
    assert torch.equal(torch.get_rng_state(), state)  # dropout draws what it would have drawn


@settings(max_examples=30)
@given(
    share=st.floats(0, 1), seed=st.integers(0, 1000), task=st.sampled_from(["multiclass", "multilabel", "regression"])
)
def test_inputs_and_labels_are_mixed_by_one_coefficient(share: float, seed: int, task: str) -> None:
    batch = make_batch(5, task, seed)
    partner = torch.from_numpy(np.random.default_rng(seed).permutation(5))
    mixed = mix(replace(batch, labels=TASKS[task]().mixable(batch.labels, CLASSES)), share, partner)
    labels = torch.nn.functional.one_hot(batch.labels, CLASSES) if task == "multiclass" else batch.labels
    for i, j in enumerate(partner.tolist()):
        torch.testing.assert_close(mixed.labels[i], share * labels[i].float() + (1 - share) * labels[j].float())
        for name, tensor in batch.inputs.items():
            own, other = int(batch.lengths[name][i]), int(batch.lengths[name][j])
            assert mixed.lengths[name][i] == max(own, other)
            parts = []
            for place, length in ((i, own), (j, other)):
                part = tensor[place].float()
                part[length:] = GREY if name == "video" else 0  # what the model sees as 0
                parts.append(part)
            expected = share * parts[0] + (1 - share) * parts[1]
            length = max(own, other)
            atol = 0.501 if name == "video" else 1e-5
            torch.testing.assert_close(mixed.inputs[name][i, :length].float(), expected[:length], rtol=0, atol=atol)


def test_mixing_with_oneself_or_by_a_share_of_one_changes_nothing() -> None:
    batch = make_batch(4, "multilabel", missing=False)
    for share, partner in ((0.3, torch.arange(4)), (1.0, torch.tensor([1, 2, 3, 0]))):
        mixed = mix(batch, share, partner)
        assert torch.equal(mixed.inputs["video"], batch.inputs["video"])
        torch.testing.assert_close(mixed.inputs["lips"], batch.inputs["lips"])
        torch.testing.assert_close(mixed.labels, batch.labels)
    assert torch.equal(mix(batch, 0.0, partner).inputs["audio"], batch.inputs["audio"][partner])


def test_the_coefficients_follow_the_beta_distribution() -> None:
    batch = Batch({"lips": torch.eye(2)[:, None, :, None].expand(2, 1, 2, 3)[:, :, 0]}, {"lips": torch.ones(2).long()})
    batch = Batch(batch.inputs, batch.lengths, torch.eye(2), ["a", "b"])
    change = Augment(AugmentConfig(mixup=0.5), data("multilabel"), 2, 0)
    shares = np.array([change(batch, 0, i).labels[0, 0].item() for i in range(600)])
    swapped = shares[shares < 1]  # where the permutation left the two in place the label is what it was
    assert 200 < len(swapped) < 400
    assert swapped.mean() == pytest.approx(0.5, abs=0.06)
    assert swapped.var() == pytest.approx(1 / 8, abs=0.03)  # of Beta(a, a): 1 / (4 (2 a + 1))


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    masks=st.integers(0, 4),
    widest=st.integers(1, 50),
    seed=st.integers(0, 1000),
)
def test_masks_lie_within_the_lengths(lengths: list[int], masks: int, widest: int, seed: int) -> None:
    spectrograms = torch.ones(len(lengths), 40, 8)
    config = AugmentConfig(time_masks=masks, time_mask=widest)
    masked = mask_spectrograms(spectrograms, torch.tensor(lengths), config, np.random.default_rng(seed))
    hidden = (masked == 0).all(dim=2)
    assert torch.equal(hidden, (masked == 0).any(dim=2))  # a frame is masked over all bands
    for sample, length in zip(hidden, lengths, strict=True):
        assert not sample[length:].any()
        assert sample.sum() <= masks * min(widest, length // 2)


def test_frequency_masks_are_bands_of_their_own_in_each_sample() -> None:
    config = AugmentConfig(frequency_masks=1, frequency_mask=3)
    masked = mask_spectrograms(torch.ones(50, 4, 8), torch.full((50,), 4), config, np.random.default_rng(0))
    hidden = masked == 0
    assert torch.equal(hidden.any(dim=1), hidden.all(dim=1))
    bands = hidden[:, 0]
    assert {int(n) for n in bands.sum(dim=1)} == {0, 1, 2, 3}
    assert bands.any(dim=0).all()  # the lowest and the highest too
    edges = bands.int().diff(dim=1, prepend=torch.zeros(50, 1), append=torch.zeros(50, 1))
    assert (edges.abs().sum(dim=1) <= 2).all()  # in one piece


def test_all_frames_of_a_clip_are_changed_alike_and_clips_differently() -> None:
    picture = torch.randint(0, 256, (1, 1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames = picture.expand(6, 4, -1, -1, -1).contiguous()
    for name in ("color", "scale"):
        changed = jitter_frames(frames, AugmentConfig(**{name: 0.4}), np.random.default_rng(1))
        assert torch.equal(changed, changed[:, :1].expand_as(changed))
        assert len({clip[0].numpy().tobytes() for clip in changed}) > 3


def test_a_mirrored_clip_is_the_clip_mirrored() -> None:
    frames = make_batch(3).inputs["video"]
    changed = jitter_frames(frames, AugmentConfig(flip=1), np.random.default_rng(0))
    assert torch.equal(changed, frames.flip(-1))


def test_a_grey_clip_has_the_luminance_of_its_colours() -> None:
    frames = make_batch(2).inputs["video"]
    changed = jitter_frames(frames, AugmentConfig(gray=1), np.random.default_rng(0)).float()
    luminance = (frames.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=2, keepdim=True)
    torch.testing.assert_close(changed, luminance.expand_as(changed), rtol=0, atol=0.51)


def test_scale_jitter_shows_a_square_within_the_frame() -> None:
    """A horizontal and a vertical ramp say which part of the frame is seen."""
    size, scale = 64, 0.5
    ramp = torch.arange(size, dtype=torch.uint8) * 4
    frames = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), torch.zeros(size, size)])
    frames = frames.to(torch.uint8).expand(40, 2, -1, -1, -1).contiguous()
    changed = jitter_frames(frames, AugmentConfig(scale=scale), np.random.default_rng(0))[:, 0].float() / 4
    left, right = changed[:, 0, 0, 1], changed[:, 0, 0, -2]
    top, bottom = changed[:, 1, 1, 0], changed[:, 1, -2, 0]
    width, height = (right - left) / (size - 3), (bottom - top) / (size - 3)
    torch.testing.assert_close(width, height, rtol=0, atol=0.02)
    assert width.min() >= 1 - scale - 0.02
    assert width.max() <= 1.02
    assert width.max() - width.min() > 0.3
    assert left.min() >= 0
    assert left.max() > 10
    assert top.max() > 10


@given(
    probability=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
    present=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=6),
)
def test_dropping_modalities_leaves_no_sample_empty(
    probability: float, seed: int, present: list[tuple[bool, bool, bool]]
) -> None:
    there = torch.tensor(present)
    lengths = {name: there[:, i].long() * (3 + i) for i, name in enumerate("abc")}
    for needed in ("abc", "b"):
        left = drop_modalities(lengths, needed, probability, np.random.default_rng(seed))
        for name, before in lengths.items():
            assert ((left[name] == before) | (left[name] == 0)).all()
        anchors = [name for name in lengths if name in needed]
        had = sum(lengths[name] for name in anchors) > 0
        assert (sum(left[name] for name in anchors)[had] > 0).all()
    assert sum(lengths.values()).tolist() == (there * torch.tensor([3, 4, 5])).sum(dim=1).tolist()


def test_how_often_modalities_are_dropped() -> None:
    lengths = {name: torch.full((4000,), 5) for name in "abcd"}
    left = drop_modalities(lengths, "abcd", 0.2, np.random.default_rng(0))
    for value in left.values():  # all four would go in 0.0016 of the samples
        assert (value == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_large_batches_are_changed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, change = make_batch(7), Augment(AugmentConfig(**EVERYTHING), data(), CLASSES, 0)
    whole = change(batch, 0, 0)
    monkeypatch.setitem(AT_ONCE, "cpu", batch.inputs["video"][0].numel() * 2)
    assert_equal(change(batch, 0, 0), whole)


def test_autocast_does_not_blur_the_places() -> None:
    batch, change = make_batch(4), Augment(AugmentConfig(**EVERYTHING), data(), CLASSES, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = change(batch, 0, 0)
    assert_equal(inside, change(batch, 0, 0))


@pytest.mark.gpu
def test_a_gpu_does_what_the_cpu_does() -> None:
    batch, change = make_batch(6), Augment(AugmentConfig(**EVERYTHING), data(), CLASSES, 0)
    here, there = change(batch, 0, 0), change(batch.to("cuda"), 0, 0)
    for name, tensor in here.inputs.items():
        atol = 2 if name == "video" else 1e-5
        torch.testing.assert_close(there.inputs[name].cpu().float(), tensor.float(), rtol=0, atol=atol)
        assert torch.equal(there.lengths[name], here.lengths[name])
    torch.testing.assert_close(there.labels.cpu(), here.labels)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"mixpu": 0.5}, "train.augment: unknown name 'mixpu'; did you mean 'mixup'?"),
        ({"mixup": -1}, "train.augment.mixup: expected 0 or more, got -1"),
        ({"drop_modality": 1.0}, r"train.augment.drop_modality: expected \[0, 1\), got 1.0"),
        ({"flip": 2}, r"train.augment.flip: expected \[0, 1\], got 2"),
        ({"time_mask": 0}, "train.augment.time_mask: expected 1 or more, got 0"),
        ({"time_masks": 1.5}, "train.augment.time_masks: expected int, got 1.5"),
        ({"scale": "much"}, "train.augment.scale: expected float, got 'much'"),
        ([0.5], "train.augment: expected {mixup: 0.5, ...}, got"),
    ],
)
def test_refusals(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(augment=value)


def test_what_cannot_be_mixed() -> None:
    text = {"title": {"kind": "text", "column": "title", "max_length": 8}}
    with pytest.raises(ConfigError, match="modality 'title' is text, and a mean of token ids is no text"):
        Augment(AugmentConfig(mixup=0.5), data(modalities={**MODALITIES, **text}), 2, 0)
    with pytest.raises(ConfigError, match=r"data\.steps gives every step a label of its own"):
        Augment(AugmentConfig(mixup=0.5), data(steps=["lips"]), 2, 0)
    with pytest.raises(ConfigError, match="the events of a temporal task are not mixed"):
        Augment(AugmentConfig(mixup=0.5), data("temporal", seconds=0.32, step=0.04), 2, 0)


@given(least=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_random_resized_crops_have_the_areas_and_aspects_asked_for(least: float, seed: int) -> None:
    width, height = crop_sizes(200, least, np.random.default_rng(seed))
    whole = (width == 1) & (height == 1)
    assert ((width > 0) & (width <= 1) & (height > 0) & (height <= 1)).all()
    assert ((width * height)[~whole] >= least - 1e-9).all()
    assert (np.abs(np.log(width / height)) <= np.log(4 / 3) + 1e-9).all()
    assert not whole.all() or least > 0.9
    assert len(np.unique((width / height).round(6))) > 1 or whole.all()


def test_a_random_resized_crop_is_one_for_all_frames_of_a_clip_and_lies_within_them() -> None:
    """Of frames whose red grows to the right and whose green grows downward: a crop says where it was."""
    place = torch.arange(64, dtype=torch.uint8) * 4
    red, green = place.expand(64, 64), place[:, None].expand(64, 64)
    frames = torch.stack([red, green, torch.zeros_like(red)]).expand(30, 3, 3, 64, 64).contiguous()
    config = AugmentConfig(crop_area=0.25)
    crops = jitter_frames(frames, config, np.random.default_rng(0)).float()
    assert torch.equal(crops[:, :1].expand(-1, 3, -1, -1, -1), crops)
    width = (crops[:, 0, 0, 32, -2] - crops[:, 0, 0, 32, 1]) / (4 * 61)
    height = (crops[:, 0, 1, -2, 32] - crops[:, 0, 1, 1, 32]) / (4 * 61)
    assert (width * height > 0.25 - 0.02).all()
    assert (width * height).min() < 0.4
    assert (width * height).max() > 0.7
    assert ((width / height).log().abs() < math.log(4 / 3) + 0.05).all()
    assert crops[:, 0, 0].amin() < 20
    assert crops[:, 0, 0].amax() > 230


def test_two_ways_of_cropping_are_refused() -> None:
    with pytest.raises(ConfigError, match="scale crops the frames too; leave one of them out"):
        AugmentConfig(scale=0.3, crop_area=0.5)
    assert AugmentConfig().does_nothing
    assert not AugmentConfig(crop_area=0.5).does_nothing


def test_time_steps_that_no_modality_reaches_any_more_are_not_scored() -> None:
    events = data("temporal", seconds=0.32, step=0.04)
    batch = make_batch(20)
    labels = within_samples(torch.ones(20, 8, 2), batch.lengths, events)
    augmented = Augment(AugmentConfig(drop_modality=0.5), events, 2, 0)(replace(batch, labels=labels), 1)
    kept = augmented.lengths
    assert any((kept[name] < batch.lengths[name]).any() for name in kept)
    pace = {"video": 4 / 8, "audio": 4, "lips": 6 / 8}
    for row in range(20):
        ends = [math.ceil(int(kept[name][row]) / pace[name]) for name in kept]
        wanted = [1.0] * max(ends) + [math.nan] * (8 - max(ends))
        assert augmented.labels[row, :, 0].tolist() == pytest.approx(wanted, nan_ok=True)


def test_overrides_and_saving(project: Path, tmp_path: Path) -> None:
    recipe = load_recipe(project, ["--train.augment.mixup", "0.5", "--train.augment.drop_modality=0.1"])
    assert recipe.train.augment == AugmentConfig(mixup=0.5, drop_modality=0.1)
    (tmp_path / "config.yaml").write_text(recipe.to_yaml(tmp_path))
    assert load_recipe(tmp_path / "config.yaml") == recipe
    with pytest.raises(RecipeError, match=r"train.augment: unknown name 'mix'; did you mean 'mixup'\?"):
        load_recipe(project, ["--train.augment.mix", "1"])


class PowerCutError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_a_resumed_run_ends_as_if_it_had_never_been_stopped(
    make_project: Callable[..., Path], tmp_path: Path, task: str
) -> None:
    path = make_project(task, augment={"mixup": 0.5, "drop_modality": 0.2})
    recipe = load_recipe(path, ["--train.learning_rate", "0.01"])

    def stop(done: int, total: int) -> None:
        if done == 5:  # of three steps an epoch
            raise PowerCutError

    whole = fit(recipe, tmp_path / "whole")
    with pytest.raises(PowerCutError):
        fit(recipe, tmp_path / "stopped", on_step=stop)
    torch.rand(7)
    resumed = fit(recipe, tmp_path / "stopped", resume=True)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert without_time(resumed) == without_time(whole)
    fit(load_recipe(path, ["--train.learning_rate", "0.01", "--train.augment", "{}"]), tmp_path / "plain")
    assert weights(tmp_path / "plain") != weights(tmp_path / "whole")


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def without_time(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name != "seconds"}
