"""Files read without torch are what training reads of them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from locomt.data import AudioSource, BadSample, DataConfig, FileDataset
from locomt.data.errors import DataError
from locomt.data.media.frames import fitted, fitted_array
from locomt.data.media.spectrogram import kaldi_filter_bank, log_mel
from locomt.runtime import spectrum
from locomt.runtime.answers import answer
from locomt.runtime.reading import Reader
from locomt.tasks import TASKS
from media_clips import add_audio, add_video, pictures, tone, write_clip, write_video

VIDEO = {"kind": "video", "column": "clip", "frames": 4, "size": 16, "patch": 8}
AUDIO = {"kind": "audio", "column": "clip", "seconds": 1.0, "mels": 32}
STD = AudioSource.std  # over which models see them
MEDIA = {"video": VIDEO, "audio": AUDIO}
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"modalities": MEDIA},
    "crops": {"modalities": MEDIA, "crop": 0.6, "clips": 3},
    "seconds": {
        "modalities": {"video": VIDEO, "audio": {**AUDIO, "seconds": 1.5}},
        "task": "temporal", "labels": ("x",), "seconds": 1.5, "step": 0.25,
    },
    "boxes, filter banks, pictures": {
        "modalities": {
            "video": {**VIDEO, "box": [0, 0.5, 1, 1]},
            "audio": {**AUDIO, "filterbank": "kaldi", "patch": 16, "stride": 10, "rate": 22050},
            "still": {"kind": "image", "column": "clip", "size": 16, "patch": 8},
        }
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    noise = np.random.default_rng(0).normal(size=(2, 16000)) * 0.1 + tone(1.0, 16000)
    write_clip(
        folder / "both.mkv", lambda o: add_video(o, pictures(30)), lambda o: add_audio(o, noise, 16000)
    )  # fmt: skip
    write_video(folder / "mute.mkv", pictures(3))
    (folder / "broken.mp4").write_bytes(b"no clip")
    np.save(folder / "vectors.npy", np.arange(12.0).reshape(4, 3))
    return folder


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", ["both.mkv", "mute.mkv", "broken.mp4"])
def test_media(files: Path, way: str, file: str) -> None:
    config = DataConfig(manifest="none.csv", **WAYS[way])
    check(config, files / file)


def test_features_and_texts(files: Path) -> None:
    modalities = {
        "v": {"kind": "features", "column": "v", "dim": 3, "max_length": 2},
        "t": {"kind": "text", "column": "t", "max_length": 5},
    }
    config = DataConfig(manifest="none.csv", modalities=modalities)
    check(config, {"v": files / "vectors.npy", "t": "Grüße"})
    check(config, {"t": "a"})
    check(config, files / "vectors.npy")
    check(config, files / "both.mkv")  # holds neither
    two = DataConfig(manifest="none.csv", modalities={"v": modalities["v"], "w": {**modalities["v"], "column": "w"}})
    check(two, files / "vectors.npy")  # of which of the two, nothing says


def check(config: DataConfig, item: Any) -> None:
    names = ("modalities", "steps", "seconds", "step", "smooth", "crop", "clips")
    data = {name: getattr(config, name) for name in names}
    data["modalities"] = {n: {"kind": s.kind, **asdict(s)} for n, s in config.modalities.items()}
    sample = FileDataset(config, item, clips=config.clips)[0]
    reader = Reader(Path("none"), data)
    if isinstance(sample, BadSample):
        with pytest.raises(DataError) as raised:
            reader.read(item)
        assert raised.value.reason in (sample.reason, sample.reason.partition(", or name")[0])
        return
    name, clips, missing = reader.read(item)
    assert (name, missing) == (sample.id, sample.missing)
    assert len(clips) == len(sample.clips)
    for own, theirs in zip(clips, sample.clips, strict=True):
        assert own.keys() == theirs.keys()
        for modality, tensor in theirs.items():
            assert own[modality].dtype == tensor.numpy().dtype
            exact = tensor.dtype == torch.uint8
            np.testing.assert_allclose(own[modality], tensor, rtol=0, atol=0 if exact else 1e-4)


@pytest.mark.parametrize("sizes", [(36, 48, 16), (10, 14, 32), (100, 100, 33), (16, 40, 16), (1, 5, 8), (300, 200, 17)])
def test_pictures_are_scaled_to_the_bit(sizes: tuple[int, int, int]) -> None:
    height, width, size = sizes
    image = np.random.default_rng(size).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(fitted_array(image, size), fitted(image, size))


@pytest.mark.parametrize("length", [1, 100, 399, 16001])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_spectrograms(length: int, scale: float) -> None:
    samples = (np.random.default_rng(length).normal(size=length) * scale).astype(np.float32)
    options = {"rate": 16000, "mels": 64, "window": 400, "hop": 160}
    for ours, theirs in ((spectrum.log_mel, log_mel), (spectrum.kaldi_filter_bank, kaldi_filter_bank)):
        found, wanted = ours(samples, **options), theirs(torch.from_numpy(samples), **options)
        np.testing.assert_allclose(found / STD, wanted / STD, rtol=0, atol=1e-4)


@pytest.mark.parametrize("smooth", [0.0, 0.6])
@pytest.mark.parametrize("name", TASKS)
def test_answers_are_those_of_the_tasks(name: str, smooth: float) -> None:
    task = TASKS[name](seconds=3.1, step=0.2, smooth=smooth)
    labels = [] if name == "regression" else ["a", "b", "c", "d"]
    outputs = task.num_outputs(labels) if labels else 1
    data = {"seconds": 3.1, "step": 0.2, "smooth": smooth}
    document = {"task": name, "labels": labels, "thresholds": {"event": 0.5}, "data": data}
    for seed in range(5):
        shape = (16, outputs) if name == "temporal" else (outputs,)
        logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3
        theirs, ours = task.answer(logits, labels, 3), answer(document, logits.numpy(), 3)
        (kind,) = theirs
        assert ours.keys() == {kind}
        assert len(ours[kind]) == len(theirs[kind])
        for one, other in zip(ours[kind], theirs[kind], strict=True):
            assert one.pop("label") == other.pop("label")
            assert one == pytest.approx(other, rel=1e-5, abs=1e-6)
