"""Sound: any format to one channel, and log-mel spectrograms against an established implementation."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from locomt import FusionConfig, FusionModel
from locomt.data import AudioSource, MediaError, NoStreamError, log_mel, mel_filters, read_audio
from locomt.data.media.spectrogram import FLOOR, fft_size
from locomt.nn.pretrained import fill_towers
from media_clips import SAMPLE_FORMATS, add_audio, add_video, pictures, tone, write_audio, write_clip, write_video

SUFFIXES = {"flac": ".flac", "aac": ".m4a", "mp2": ".mp2"}
LOSS = {"pcm_u8": 0.004, "aac": 0.01, "mp2": 0.004}
"""Root mean square of what the codec itself takes away from a tone of amplitude 0.5."""


def delay_of(samples: np.ndarray, wanted: np.ndarray) -> int:
    """Samples by which lossy codecs shift the sound."""
    return int(np.argmax(np.correlate(samples, wanted, "valid")))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("codec", SAMPLE_FORMATS)
def test_any_format_and_rate(codec: str, rate: int, channels: int, tmp_path: Path) -> None:
    if codec in ("mp2", "aac") and rate == 8000:
        rate = 16000  # layer 2 has nothing lower, and FFmpeg's AAC does not sound like the tone
    sound = np.stack([tone(1.0, rate)] * channels)
    path = write_audio(tmp_path / f"a{SUFFIXES.get(codec, '.wav')}", sound, rate, codec)
    samples = read_audio(path, 16000)
    assert samples.dtype == torch.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16000, rel=0.01 if codec not in SUFFIXES else 0.2)
    wanted = tone(0.5, 16000)
    begin = 2000 + delay_of(samples.numpy()[2000:12000], wanted)
    error = samples.numpy()[begin : begin + len(wanted)] - wanted
    assert np.sqrt(np.mean(error**2)) < LOSS.get(codec, 2e-5)


def test_the_rate_that_it_has_is_left_alone(tmp_path: Path) -> None:
    sound = np.round(tone(0.3, 16000) * 2**15) / 2**15
    samples = read_audio(write_audio(tmp_path / "a.wav", sound[None], 16000), 16000)
    assert np.array_equal(samples.numpy(), sound.astype(np.float32))


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
@pytest.mark.parametrize("layout", ["stereo", "3.0", "5.1"])
def test_channels_are_averaged(layout: str, codec: str, tmp_path: Path) -> None:
    count = {"stereo": 2, "3.0": 3, "5.1": 6}[layout]
    sound = np.stack([tone(0.2, 16000, 200.0 * (n + 1)) for n in range(count)])
    samples = read_audio(write_audio(tmp_path / "a.wav", sound, 16000, codec, layout), 16000)
    assert np.abs(samples.numpy() - sound.mean(0)).max() < 1e-4


def test_channels_without_a_known_layout(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", np.stack([tone(0.2, 16000)] * 2), 16000)
    content = bytearray(path.read_bytes())
    at = content.index(b"fmt ") + 8
    content[at + 2 : at + 4] = (3).to_bytes(2, "little")  # three channels, nobody says which
    content[at + 12 : at + 14] = (6).to_bytes(2, "little")
    path.write_bytes(content)
    assert len(read_audio(path, 16000)) == pytest.approx(3200 * 2 / 3, abs=2)


def test_sound_of_a_clip(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "clip.mkv",
        lambda output: add_video(output, pictures(25)),
        lambda output: add_audio(output, tone(1.0, 16000)[None], 16000),
    )
    assert np.abs(read_audio(path, 16000).numpy() - tone(1.0, 16000)).max() < 1e-4


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"", "the file is empty"), (b"RIFF" * 300, "no media file")],
    ids=["missing", "empty", "no media"],
)
def test_what_cannot_be_decoded_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=reason) as caught:
        read_audio(path, 16000)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "aac"])
def test_truncated(codec: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write_audio(tmp_path / f"a{SUFFIXES.get(codec, '.wav')}", rng.uniform(-1, 1, (1, 48000)), 16000, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"truncated|damaged"):
        read_audio(path, 16000)


def test_no_audio_stream(tmp_path: Path) -> None:
    with pytest.raises(NoStreamError, match="no audio stream"):
        read_audio(write_video(tmp_path / "clip.mkv", pictures(3)), 16000)


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    sound = tone(0.1, 16000)
    sound[700] = np.nan
    with pytest.raises(MediaError, match="expected finite samples"):
        read_audio(write_audio(tmp_path / "a.wav", sound[None], 16000, "pcm_f32le"), 16000)


@pytest.mark.parametrize(
    ("rate", "mels", "window", "hop"), [(16000, 128, 400, 160), (8000, 64, 200, 80), (44100, 40, 1102, 441)]
)
def test_log_mel_agrees_with_transformers(rate: int, mels: int, window: int, hop: int) -> None:
    samples = np.random.default_rng(0).normal(size=rate).astype(np.float32)
    samples[: rate // 4] *= 1e-4
    size = fft_size(rate, window, mels)
    filters = mel_filter_bank(size // 2 + 1, mels, 0.0, rate / 2, rate, norm=None, mel_scale="htk")
    assert np.abs(mel_filters(rate, size, mels).numpy() - filters).max() < 1e-5
    wanted = spectrogram(
        samples,
        window_function(window, "hann", periodic=True),
        frame_length=window,
        hop_length=hop,
        fft_length=size,
        power=2.0,
        center=True,
        pad_mode="constant",
        mel_filters=filters,
        mel_floor=FLOOR,
        log_mel="log",
    ).T
    ours = log_mel(torch.from_numpy(samples), rate=rate, mels=mels, window=window, hop=hop)
    assert ours.shape == (-(-rate // hop), mels)
    # Where windows have an odd length the two centre them half a sample apart.
    assert np.abs(ours.numpy() - wanted[: len(ours)]).max() < 2e-3


def made_sound(seconds: float) -> np.ndarray:
    """Noise, quiet at first, with a chirp and an offset, in [-1, 1]."""
    times = np.arange(round(16000 * seconds)) / 16000
    noise = np.random.default_rng(0).normal(size=len(times)) * np.linspace(1e-4, 0.1, len(times))
    return (0.1 + noise + 0.3 * np.sin(2 * np.pi * 300 * times**2)).astype(np.float32)


def ast_values(samples: np.ndarray) -> torch.Tensor:
    return ASTFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")["input_values"]


AST = {"filterbank": "kaldi", "mels": 128, "seconds": 10.24, "stride": 10, "class_tokens": 2}
AST |= {"mean": -4.2677393, "std": 2 * 4.5689974}


@pytest.mark.parametrize("seconds", [0.02, 0.03, 3.0, 10.24])
@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
def test_kaldi_filter_banks_are_those_of_ast(seconds: float, tmp_path: Path) -> None:
    samples = made_sound(seconds)
    ours = source(**AST).load(write_audio(tmp_path / "a.wav", samples[None], 16000, "pcm_f32le"))
    assert len(ours) == max(1, 1 + (len(samples) - 400) // 160)
    theirs = ast_values(np.pad(samples, (0, max(0, 400 - len(samples)))))[0, : len(ours)]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-4)  # which bands of next to no power come to
    assert (ours - theirs).abs().mean() < 1e-6


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
@torch.no_grad()
def test_an_ast_hears_a_file_as_its_library_has_it(tmp_path: Path) -> None:
    """From the file to the mean of its two class tokens."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    theirs = ASTModel(ASTConfig(**sizes)).eval()
    theirs.save_pretrained(tmp_path / "ast")
    audio = source(**AST)
    options = {"dim": 32, "heads": 2, "depth": 2, "fusion_layers": 1, "norm_eps": 1e-12, "fusion": "selfall"}
    model = FusionModel(FusionConfig(modalities={"audio": audio.spec()}, num_outputs=3, **options)).eval()
    fill_towers(model, {"audio": tmp_path / "ast"})
    samples = made_sound(10.24)
    ours = audio.load(write_audio(tmp_path / "a.wav", samples[None], 16000, "pcm_f32le"))
    answer = model({"audio": ours[None]}, {"audio": torch.tensor([len(ours)])})
    torch.testing.assert_close(answer, model.head(theirs(ast_values(samples)).pooler_output), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
@pytest.mark.parametrize("mels", [16, 64, 128, 256])
def test_no_band_is_always_silent(rate: int, mels: int) -> None:
    window = round(rate * 0.025)
    size = fft_size(rate, window, mels)
    assert size >= window
    assert (mel_filters(rate, size, mels).sum(dim=0) > 0).all()
    assert size == 1 << (window - 1).bit_length() or not mel_filters(rate, size // 2, mels).any(dim=0).all()


@given(count=st.integers(1, 2000))
def test_frames_have_their_centre_in_the_sound(count: int) -> None:
    frames = log_mel(torch.ones(count), rate=8000, mels=8, window=200, hop=80)
    assert len(frames) == len(range(0, count, 80))
    assert frames.isfinite().all()


def source(**changes: object) -> AudioSource:
    return AudioSource(**{"column": "clip", "seconds": 0.5, "mels": 32, **changes})


def test_the_middle_of_a_long_recording(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(8000), tone(0.5, 16000), np.zeros(8000)])
    whole = source().load(write_audio(tmp_path / "long.wav", sound[None], 16000))
    middle = source().load(write_audio(tmp_path / "middle.wav", tone(0.5, 16000)[None], 16000))
    assert whole.shape == (50, 32)
    assert torch.equal(whole, middle)


def test_a_short_recording_keeps_its_length(tmp_path: Path) -> None:
    loaded = source().load(write_audio(tmp_path / "a.wav", tone(0.213, 16000)[None], 16000))
    assert loaded.shape == (22, 32)


def test_mean_and_std(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (1, 8000)), 16000)
    raw, normed = source(mean=0.0, std=1.0).load(path), source(mean=-3.0, std=2.0).load(path)
    assert torch.allclose(normed, (raw + 3) / 2)
    assert raw.min() >= np.log(FLOOR)


@pytest.mark.parametrize("quiet", ["throughout", "in the middle"])
def test_all_zero_audio_is_refused(quiet: str, tmp_path: Path) -> None:
    ends = np.zeros(8000) if quiet == "throughout" else tone(0.5, 16000)
    path = write_audio(tmp_path / "a.wav", np.concatenate([ends, np.zeros(9000), ends])[None], 16000)
    with pytest.raises(MediaError, match=f"all-zero audio {quiet}"):
        source().load(path)


def test_a_single_sample_that_is_not_zero_is_sound(tmp_path: Path) -> None:
    sound = np.zeros(8000)
    sound[4000] = 0.5
    assert source().load(write_audio(tmp_path / "a.wav", sound[None], 16000)).isfinite().all()


def test_loading_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source(mels=128, patch=16).load(write_audio(tmp_path / "a.wav", tone(0.5, 8000)[None], 8000))
