"""What is stored in shards comes back: exactly, or as closely as was promised."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from locomt.data import NoStreamError, log_mel, read_audio, read_frames
from locomt.data.errors import ShardError
from locomt.data.shards.encoding import (
    decode_array,
    decode_image,
    decode_sound,
    encode_array,
    encode_image,
    encode_sound,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_png_loses_nothing_and_jpeg_little() -> None:
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    pixels = torch.stack([x * 5, y * 5, (x + y) * 2]).to(torch.uint8)
    assert torch.equal(decode_image("x", "0.png", encode_image(pixels, "png", 0), 48), pixels)
    errors = [
        (decode_image("x", "0.jpg", encode_image(pixels, "jpeg", quality), 48).int() - pixels.int())
        .abs()
        .float()
        .mean()
        for quality in (95, 30)
    ]
    assert 0 < errors[0] < 2 < errors[1] + 1.5


@given(
    bits=st.integers(2, 16),
    shift=st.integers(0, 6),
    seed=st.integers(0, 99),
    length=st.sampled_from([1, 2, 1000, 4609]),
)
@settings(max_examples=20, deadline=None)
def test_sound_of_16_bits_comes_back_exactly(bits: int, shift: int, seed: int, length: int) -> None:
    whole = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (length,), generator=torch.Generator().manual_seed(seed))
    samples = whole.float() / 2 ** (15 + shift)
    if not samples.any():
        return
    content, scale = encode_sound(samples, 16000, "flac")
    assert torch.equal(decode_sound("x", "flac", content, scale), samples)


@pytest.mark.parametrize("loudness", [1e-4, 0.1, 1.0, 3.0])
def test_other_sound_comes_back_to_16_bits_of_its_peak_be_it_quiet_or_beyond_full_scale(loudness: float) -> None:
    samples = noise(5000).clamp(-1, 1) * loudness
    content, scale = encode_sound(samples, 16000, "flac")
    error = (decode_sound("x", "flac", content, scale) - samples).abs().max()
    assert error <= 1.01 * loudness * 2 / 2**16
    content, scale = encode_sound(samples, 16000, "npy")
    assert torch.equal(decode_sound("x", "npy", content, scale), samples)


@pytest.mark.shared_data
def test_real_clips_lose_what_the_documentation_says(shared_data: Path) -> None:
    pixels, rounded, sounds = [], [], []
    for file in sorted([*(shared_data / "media").glob("*/*.mpg"), *(shared_data / "media").glob("*/*.mp4")]):
        for frame in read_frames(file, 8, size=224):
            pixels.append(frame)
            rounded.append(decode_image("x", "0.jpg", encode_image(frame, "jpeg", 95), 224))
        try:
            samples = read_audio(file, 16000)
        except NoStreamError:
            continue
        content, scale = encode_sound(samples, 16000, "flac")
        both = (samples, decode_sound("x", "flac", content, scale))
        first, second = (log_mel(x, rate=16000, mels=128, window=400, hop=160) / 4.57 for x in both)
        sounds.append((first - second).abs())
    difference = (torch.stack(pixels).float() - torch.stack(rounded).float()).abs()
    assert len(pixels) >= 168
    assert difference.mean() < 0.8
    assert difference.max() <= 20
    assert torch.stack([sound.mean() for sound in sounds]).mean() < 0.0035
    assert max(sound.max() for sound in sounds) < 0.35


def test_arrays_come_back() -> None:
    for values in (noise(7), noise(3, 5), noise(5, 3).T):
        assert torch.equal(decode_array("x", encode_array(values), ndim=values.ndim), values)


def saved(array: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), **options)
    return buffer.getvalue()


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("code in an array was run",))


HUGE = saved(np.zeros((2, 3), np.float32)).replace(b"(2, 3)", b"(1<<9,)").replace(b"(1<<9,)", b"(9, 9)")


@pytest.mark.parametrize(
    "content",
    [
        saved(np.array([Bomb()], object), allow_pickle=True),
        saved(np.zeros((2, 3))),
        saved(np.zeros(3, np.float32)),
        saved(np.full((2, 3), np.nan, np.float32)),
        saved(np.zeros((2, 3), np.float32))[:-1],
        HUGE,
        b"\x93NUMPY\x01\x00",
        b"",
        b"no array",
    ],
)
def test_arrays_that_are_refused(content: bytes) -> None:
    with pytest.raises(ShardError, match=r"^x: "):
        decode_array("x", content, ndim=2)


@pytest.mark.parametrize(
    "content", [b"", b"no image", encode_image(torch.zeros(3, 8, 8, dtype=torch.uint8), "jpeg", 90)]
)
def test_images_that_are_refused(content: bytes) -> None:
    for end in ("0.png", "0.jpg", "0.exe"):
        with pytest.raises(ShardError, match=r"^x: "):
            decode_image("x", end, content, 9)
    whole = encode_image(noise(3, 9, 9).to(torch.uint8), "png", 0)
    with pytest.raises(ShardError, match=r"^x: "):
        decode_image("x", "0.png", whole[:60], 9)


@pytest.mark.parametrize("content", [b"", b"no sound", b"fLaC" + bytes(60)])
def test_sound_that_is_refused(content: bytes) -> None:
    with pytest.raises(ShardError, match=r"^x: its FLAC cannot be decoded"):
        decode_sound("x", "flac", content, 1.0)
