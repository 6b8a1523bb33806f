"""What every kind of modality keeps to, and images: pictures that are one frame and belong to no moment."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from locomt import FusionConfig, FusionModel
from locomt.nn import AudioSpec, FeatureSpec, ImageSpec, TextSpec, VideoSpec
from locomt.nn.config import ConfigError
from locomt.nn.embedding import ModalityEmbedding
from locomt.nn.modalities import MODALITIES, ModalitySpec

SPECS: dict[str, ModalitySpec] = {
    "video": VideoSpec(frames=4, size=8, patch=4, tubelet=2),
    "image": ImageSpec(size=8, patch=4),
    "audio": AudioSpec(frames=13, mels=9, patch=4, stride=3, class_tokens=2),
    "features": FeatureSpec(dim=3, max_length=5),
    "text": TextSpec(vocabulary=11, max_length=6),
}
each_kind = pytest.mark.parametrize("kind", MODALITIES)


def test_every_kind_is_tried_here() -> None:
    assert SPECS.keys() == MODALITIES.keys()
    assert all(type(SPECS[kind]) is MODALITIES[kind] for kind in MODALITIES)


@each_kind
def test_a_full_input_makes_the_tokens_that_the_grid_says(kind: str) -> None:
    spec = SPECS[kind]
    inputs = spec.example_input(2, "cpu")
    assert inputs.shape[:2] == (2, spec.max_steps)
    embedding = ModalityEmbedding(spec, 8)
    assert embedding(inputs).shape == (2, spec.tokens, 8)
    assert embedding.token_lengths(torch.tensor([0, spec.max_steps])).tolist() == [0, spec.tokens]


@each_kind
def test_a_shorter_input_makes_the_tokens_that_its_length_says(kind: str) -> None:
    spec = SPECS[kind]
    inputs, embedding = spec.example_input(1), ModalityEmbedding(spec, 8)
    for steps in range(1, spec.max_steps + 1):
        assert embedding(inputs[:, :steps]).shape[1] == embedding.token_lengths(torch.tensor(steps))


@each_kind
def test_a_projection_has_the_parameters_that_it_says(kind: str) -> None:
    for dim in (4, 7):
        projection = SPECS[kind].projection(dim)
        assert sum(weight.numel() for weight in projection.parameters()) == SPECS[kind].parameters(dim)


@each_kind
def test_more_steps_than_there_are_positions_are_refused(kind: str) -> None:
    spec = SPECS[kind]
    twice = torch.cat([spec.example_input(1)] * 2, dim=1)
    with pytest.raises(ValueError, match=rf"^{kind} input of {2 * spec.max_steps} steps is longer than"):
        ModalityEmbedding(spec, 8)(twice)


@each_kind
def test_sizes_beyond_reason_are_refused_by_field(kind: str) -> None:
    spec = type(SPECS[kind])
    given = {field.name: getattr(SPECS[kind], field.name) for field in fields(spec)}
    assert set(spec.most) <= set(given)
    for name, most in spec.most.items():
        for value in (0, most + 1, "4"):
            with pytest.raises(ConfigError, match=rf"^{kind} {name}: expected"):
                spec(**given | {name: value})


@each_kind
def test_a_model_of_one_kind_is_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    config = FusionConfig(
        modalities={"one": SPECS[kind]}, dim=8, heads=2, depth=2, fusion_layers=1, fusion="selfall", num_outputs=2
    )
    model = FusionModel(config).eval()
    inputs = model.example_inputs(2)
    model.save_pretrained(tmp_path)
    loaded = FusionModel.from_pretrained(tmp_path)
    assert loaded.config == config
    assert torch.equal(loaded(inputs), model(inputs))


@pytest.mark.parametrize("pixels", [lambda t: t, lambda t: t.float() / 127.5 - 1])
def test_an_image_is_a_video_of_one_frame(pixels: Callable[[Tensor], Tensor]) -> None:
    image = ModalityEmbedding(ImageSpec(size=12, patch=4, channels=2), 8)
    video = ModalityEmbedding(VideoSpec(frames=1, size=12, patch=4, channels=2), 8)
    video.load_state_dict(image.state_dict())
    picture = pixels(image.spec.example_input(3))
    assert picture.shape == (3, 1, 2, 12, 12)
    assert torch.equal(image(picture), video(picture))


@given(sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_positions_of_an_image_are_resized_to_another_size(sizes: tuple[int, int]) -> None:
    old, new = (ModalityEmbedding(ImageSpec(size=4 * size, patch=4), 6) for size in sizes)
    new.load_state_dict(old.state_dict())
    assert new(new.spec.example_input(1)).shape == (1, sizes[1] ** 2 + 1, 6)
    assert torch.equal(new.positions, old.positions) == (sizes[0] == sizes[1])


def test_an_image_that_is_no_multiple_of_its_patch() -> None:
    with pytest.raises(ConfigError, match=r"^image size 20 is no multiple of its patch 16"):
        ImageSpec(size=20)


def test_answers_along_time_are_not_read_from_an_image() -> None:
    """Nor does it reach the time steps: they are those of the video, which sees it through its cross heads."""
    modalities = {"video": SPECS["video"], "photo": SPECS["image"]}
    sizes = {"dim": 8, "heads": 2, "depth": 2, "fusion_layers": 1, "num_outputs": 2}
    config = FusionConfig(modalities=modalities, time_steps=3, cross=1.0, **sizes)  # type: ignore[arg-type]
    assert config.read == ("video",)
    model = FusionModel(config).eval()
    inputs = model.example_inputs(1)
    answers = model(inputs)
    assert answers.shape == (1, 3, 2)
    assert not torch.equal(answers, model(inputs | {"photo": 255 - inputs["photo"]}))
    with pytest.raises(ValueError, match="which have a time axis"):
        model({"photo": inputs["photo"]})
    with pytest.raises(ConfigError, match="expected a kind whose every step is one token"):
        FusionConfig(modalities=modalities, steps=("photo",), **sizes)  # type: ignore[arg-type]
