"""Patches against torch's convolutions, token counts, and positions that can be resized."""

import pytest
import torch

from locomt.nn import AudioSpec, FeatureSpec, TextSpec, VideoSpec
from locomt.nn.embedding import ModalityEmbedding, resize_positions
from locomt.nn.modalities import ModalitySpec
from locomt.nn.modalities.audio import SpectrogramPatches
from locomt.nn.modalities.video import VideoPatches


def test_video_patches_are_a_strided_convolution() -> None:
    spec = VideoSpec(frames=4, size=8, patch=4, tubelet=2)
    patches = VideoPatches(spec, 6)
    frames = torch.randn(2, 4, 3, 8, 8)
    weight = patches.project.weight.view(6, 3, 2, 4, 4)
    expected = torch.conv3d(frames.transpose(1, 2), weight, patches.project.bias, stride=(2, 4, 4))
    torch.testing.assert_close(patches(frames), expected.flatten(2).mT)


def test_spectrogram_patches_are_a_strided_convolution() -> None:
    patches = SpectrogramPatches(AudioSpec(frames=12, mels=8, patch=4), 6)
    spectrogram = torch.randn(2, 12, 8)
    weight = patches.project.weight.view(6, 1, 4, 4)
    expected = torch.conv2d(spectrogram[:, None], weight, patches.project.bias, stride=4)
    torch.testing.assert_close(patches(spectrogram), expected.flatten(2).mT)


def test_bytes_are_scaled_to_plus_minus_one() -> None:
    patches = VideoPatches(VideoSpec(frames=1, size=4, patch=4), 2)
    frames = torch.randint(0, 256, (1, 1, 3, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(patches(frames), patches(frames.float() / 127.5 - 1))


@pytest.mark.parametrize(
    ("spec", "lengths", "tokens"),
    [
        (VideoSpec(frames=4, size=8, patch=4, tubelet=2), [0, 1, 2, 3, 4], [0, 5, 5, 9, 9]),
        (AudioSpec(frames=12, mels=8, patch=4), [0, 1, 4, 5, 12], [0, 3, 3, 5, 7]),
        (FeatureSpec(dim=3, max_length=5), [0, 1, 5], [0, 2, 6]),
    ],
)
def test_token_lengths_count_cls_and_round_up(spec: ModalitySpec, lengths: list[int], tokens: list[int]) -> None:
    embedding = ModalityEmbedding(spec, 4)
    assert embedding.token_lengths(torch.tensor(lengths)).tolist() == tokens


def test_shorter_inputs_take_the_leading_positions() -> None:
    embedding = ModalityEmbedding(AudioSpec(frames=12, mels=8, patch=4), 6)
    full = torch.randn(1, 12, 8)
    torch.testing.assert_close(embedding(full[:, :8]), embedding(full)[:, :5])


@pytest.mark.parametrize("grid", [(7,), (3, 4), (2, 3, 4)])
def test_positions_that_lie_on_a_plane_stay_on_it(grid: tuple[int, ...]) -> None:
    """Linear interpolation reproduces a linear function of the place inside the outermost samples."""
    double = tuple(2 * n for n in grid)

    def plane(shape: tuple[int, ...], scale: float) -> torch.Tensor:
        axes = torch.meshgrid(*((torch.arange(n) + 0.5) * scale for n in shape), indexing="ij")
        return sum((i + 1) * axis for i, axis in enumerate(axes)).flatten()[:, None].double()

    resized = resize_positions(plane(grid, 1.0), grid, double).view(*double)
    inside = tuple(slice(1, -1) for _ in double)
    torch.testing.assert_close(resized[inside], plane(double, 0.5).view(*double)[inside])


def test_loading_resizes_positions_of_another_grid() -> None:
    small, large = (ModalityEmbedding(AudioSpec(frames=n, mels=8, patch=4), 6) for n in (8, 16))
    large.load_state_dict(small.state_dict())
    assert torch.equal(large.positions, resize_positions(small.positions, (2, 2), (4, 2)))
    assert large.grid.tolist() == [4, 2]
    with pytest.raises(ValueError, match="2-d grid"):
        resize_positions(small.positions, (2, 2), (4,))


def test_token_dropout_blanks_contents_and_keeps_positions_and_cls() -> None:
    torch.manual_seed(0)
    embedding = ModalityEmbedding(TextSpec(vocabulary=50, max_length=400), 8, token_dropout=0.25)
    ids = torch.randint(1, 50, (4, 400))
    full = embedding.eval()(ids)
    tokens = embedding.train()(ids)
    blank = (tokens[:, 1:] == embedding.positions).all(dim=-1)
    assert abs(blank.float().mean() - 0.25) < 0.05
    assert torch.equal(tokens[:, 1:][~blank], full[:, 1:][~blank])
    assert torch.equal(tokens[:, 0], full[:, 0])
