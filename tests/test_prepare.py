"""The scripts that turn data sets into manifests: order, splits, checks, and what they refuse. On made-up sources."""

import csv
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

import forks
from locomt.data import DataConfig, ManifestDataset, label_list
from locomt.train.recipe_file import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
VIDEOS = {"train": ("aa", "bb_b", "cc", "dd"), "test": ("ee", "ff")}
UTTERANCES = 11  # so that the order of numbers and of text differ: 10 comes after 2
DIMS = {"text": 5, "audio": 4, "video": 3}


def prepare(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    return forks.run(RECIPES / f"prepare_{script}.py", *args)


def read_manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: list[list[object]]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)


@pytest.fixture
def mosi(tmp_path: Path) -> Path:
    """Utterances whose first audio feature is their number; a transcript file and features in the order of text."""
    random = np.random.default_rng(0)
    source = tmp_path / "mosi"
    ids = sorted(f"{v}_{n}" for videos in VIDEOS.values() for v in videos for n in range(1, UTTERANCES + 1))
    labels = {key: int(key.rsplit("_", 1)[1]) % 2 for key in ids}
    write_csv(source / "transcripts.csv", [[key, "WORDS", 1, labels[key]] for key in ids])
    for split, videos in VIDEOS.items():
        mine = [key for key in ids if key.rsplit("_", 1)[0] in videos]
        for modality, dim in DIMS.items():
            features = random.normal(size=(len(mine), dim))
            features[:, 0] = [float(key.rsplit("_", 1)[1]) for key in mine]
            features[:, 1] = 7 if split == "train" else 8
            if modality == "text":
                features[:, 2] = [labels[key] for key in mine]
            table = [[*row, labels[key]] for row, key in zip(features.tolist(), mine, strict=True)]
            write_csv(source / modality / f"{modality}_{split}0.csv", table)
            if modality == "text":
                listed = [[ids.index(key), *row[:-1]] for key, row in zip(mine, table, strict=True)]
                write_csv(source / f"text_{split}.csv", listed)
    return source


def test_mosi_has_utterances_in_spoken_order_standardised_by_training_videos(mosi: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = prepare("mosi", mosi, out, "--val-videos", 1)
    assert done.returncode == 0, done.stderr
    rows = read_manifest(out)
    assert [sum(row["split"] == split for row in rows) for split in ("train", "val", "test")] == [3, 1, 2]
    assert {row["id"] for row in rows if row["split"] == "test"} == set(VIDEOS["test"])
    for row in rows:
        audio = np.load(out / row["audio"])
        assert audio.shape == (UTTERANCES, DIMS["audio"])
        assert (np.diff(audio[:, 0]) > 0).all(), "the number of the utterance must rise"
        assert row["label"] == ";".join(("negative", "positive")[n % 2] for n in range(1, UTTERANCES + 1))
        assert (audio[:, 1] == 0).all(), "what is constant in the training videos says nothing"
    train = np.concatenate([np.load(out / row["text"]) for row in rows if row["split"] == "train"])
    np.testing.assert_allclose(train[:, 2:].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train[:, 2:].std(axis=0), 1, atol=1e-6)
    shipped = load_recipe(RECIPES / "mosi.yaml").data
    sources = {m: {"kind": "features", "column": m, "dim": dim, "max_length": 64} for m, dim in DIMS.items()}
    data = DataConfig(
        manifest=str(out / "manifest.csv"), modalities=sources, labels=shipped.labels, steps=shipped.steps
    )
    sample = ManifestDataset(data, "val", label_list(data))[0]
    assert sample.label.tolist() == [n % 2 for n in range(1, UTTERANCES + 1)]


def test_mosi_refuses_features_of_other_rows(mosi: Path, tmp_path: Path) -> None:
    table = mosi / "audio" / "audio_train0.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[-1], *lines[:-1]]))
    done = prepare("mosi", mosi, tmp_path / "out")
    assert done.returncode != 0
    assert "train audio: expected the labels of 44 transcripts" in done.stderr
    assert not (tmp_path / "out" / "manifest.csv").exists()


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Recordings of two speakers, five of the takes; each digit is a tone of its own."""
    pytest.importorskip("sklearn")
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    time = np.arange(2000) / 8000
    for digit in range(10):
        tone = (8000 * np.sin(2 * np.pi * (200 + 100 * digit) * time)).astype("<i2").tobytes()
        for speaker in ("ann", "bob"):
            for take in (0, 4, 5, 10, 49):
                with wave.open(str(folder / f"{digit}_{speaker}_{take}.wav"), "wb") as file:
                    file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
                    file.writeframes(tone)
    return folder.parent


def test_digits_pair_within_a_split_and_a_digit_and_serve_their_recipe(speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = prepare("digits", speech, out)
    assert done.returncode == 0, done.stderr
    rows = read_manifest(out)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val", "test")}
    assert counts == {"train": 40, "val": 20, "test": 120}
    takes = {"train": {"10", "49"}, "val": {"5"}, "test": {"0", "4"}}
    for row in rows:
        digit, _, take = Path(row["recording"]).stem.split("_")
        assert (digit, take in takes[row["split"]]) == (row["label"], True)
        assert np.load(out / row["image"]).shape == (8, 8)
    data = load_recipe(RECIPES / "digits.yaml", ["--data.manifest", str(out / "manifest.csv")]).data
    sample = ManifestDataset(data, "test", label_list(data))[0]
    assert {name: list(value.shape) for name, value in sample.inputs.items()} == {"speech": [25, 32], "image": [8, 8]}


def test_digits_noise_has_the_stated_power(speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare("digits", speech, out, "--snr", -3, "--blur", 0, "--hole", 0).returncode == 0
    ratios = []
    for row in read_manifest(out)[:40]:
        with wave.open(str(out / row["speech"])) as file:
            noisy = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float)
        with wave.open(str(speech / "recordings" / row["recording"])) as file:
            clean = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float)
        gain = noisy @ clean / (clean @ clean)
        ratios.append(10 * np.log10(np.mean((gain * clean) ** 2) / np.mean((noisy - gain * clean) ** 2)))
    assert np.mean(ratios) == pytest.approx(-3, abs=0.1)


def test_grid_reads_words_off_the_names(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("bbaf2n", "s1_swwzza"):
        (clips / f"{name}.mpg").touch()
    done = prepare("grid", clips, tmp_path / "out", "--label", "command")
    assert done.returncode == 0, done.stderr
    first, second = read_manifest(tmp_path / "out")
    assert (first["label"], first["words"], first["clip"]) == ("bin", "blue at f two now", "../clips/bbaf2n.mpg")
    assert (second["label"], second["words"]) == ("set", "white with z zero again")


@pytest.mark.parametrize("name", ["bbaf2", "bbaw2n", "xbaf2n"])
def test_grid_refuses_names_that_say_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.mpg").touch()
    done = prepare("grid", tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert f"expected a name of six letters such as bbaf2n, got '{name}'" in done.stderr
