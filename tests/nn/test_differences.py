"""Frames less their mean, and their differences: by the definition, and whatever the padding."""

import pytest
import torch
from torch import nn

from locomt import FusionConfig, FusionModel
from locomt.cost import activation_bytes, flops, parameters
from locomt.cost.counted import count_flops
from locomt.cost.measured import saved_bytes
from locomt.nn import FeatureSpec, VideoSpec
from locomt.nn.embedding import ModalityEmbedding
from locomt.nn.modalities import ModalitySpec
from locomt.nn.modalities.video import VideoPatches

SPEC = VideoSpec(frames=6, size=8, patch=4, tubelet=2, differences=True)


def test_a_token_sees_the_frames_less_their_mean_and_their_differences() -> None:
    """As frames of twice the channels see them that were made so by hand."""
    patches, plain = SPEC.projection(5), VideoPatches(VideoSpec(frames=6, size=8, patch=4, tubelet=2, channels=6), 5)
    plain.load_state_dict(patches.state_dict())
    frames = torch.randint(0, 256, (2, 6, 3, 8, 8), dtype=torch.uint8)
    pixels = frames / 127.5 - 1
    change = torch.zeros_like(pixels)
    change[:, 1:] = pixels.diff(dim=1)
    by_hand = torch.cat([pixels - pixels.mean(dim=1, keepdim=True), change], dim=2)
    torch.testing.assert_close(patches(frames), plain(by_hand), rtol=0, atol=1e-5)
    assert sum(weight.numel() for weight in patches.parameters()) == SPEC.parameters(5)


def test_what_stands_still_is_nothing() -> None:
    patches = SPEC.projection(5)
    assert isinstance(patches.project, nn.Linear)
    still = torch.full((1, 6, 3, 8, 8), 200, dtype=torch.uint8)
    torch.testing.assert_close(patches(still), patches.project.bias.expand(1, 12, 5), rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 3, 5])
def test_padding_has_no_share_in_it(length: int) -> None:
    embedding = ModalityEmbedding(SPEC, 8).eval()
    frames = torch.randint(0, 256, (1, length, 3, 8, 8), dtype=torch.uint8)
    padded = torch.cat([frames, torch.randint(0, 256, (1, 6 - length, 3, 8, 8), dtype=torch.uint8)], dim=1)
    alone, beside = embedding(frames), embedding(padded, torch.tensor([length]))
    torch.testing.assert_close(beside[:, : alone.shape[1]], alone, rtol=0, atol=1e-5)


def test_a_model_keeps_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("model")
    sizes = {"dim": 8, "heads": 2, "depth": 2, "fusion_layers": 1, "num_outputs": 2}
    model = FusionModel(FusionConfig(modalities={"video": SPEC}, fusion="selfall", **sizes)).eval()  # type: ignore[arg-type]
    model.save_pretrained(folder)
    loaded = FusionModel.from_pretrained(folder)
    assert loaded.config == model.config
    inputs = model.example_inputs(2)
    assert torch.equal(loaded(inputs), model(inputs))


@pytest.mark.parametrize("spec", [SPEC, FeatureSpec(dim=3, max_length=5, standardise=True)])
def test_what_it_costs_is_what_the_formulas_say(spec: ModalitySpec) -> None:
    """Of standardised features too, in front of which as little is computed."""
    sizes = {"dim": 8, "heads": 2, "depth": 2, "fusion_layers": 1, "num_outputs": 2}
    config = FusionConfig(modalities={"one": spec}, fusion="selfall", **sizes)  # type: ignore[arg-type]
    model = FusionModel(config)
    assert parameters(config) == sum(weight.numel() for weight in model.parameters())
    assert flops(config).total == count_flops(config)
    assert activation_bytes(config, batch=2) == saved_bytes(model, model.example_inputs(2))
