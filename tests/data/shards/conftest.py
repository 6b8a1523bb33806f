"""Clips of every kind and the shards that are made from them, once for the tests of this room."""

import csv
from pathlib import Path

import numpy as np
import pytest

from locomt.data import DataConfig
from locomt.data.shards.prepare import prepare
from media_clips import add_audio, add_video, pictures, tone, write_clip
from shard_clips import EXACT, MODALITIES, SAMPLES


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of several lengths, some of them bad; rows that lack this and that; ids that no file could have."""
    root = tmp_path_factory.mktemp("clips")
    (root / "clips").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for n in range(SAMPLES):
        sound = tone(0.3 + n / 20, 22050, 300 + 20 * n) if n != 5 else np.zeros(9000)
        write_clip(
            root / "clips" / f"{n}.mkv",
            lambda output, n=n: add_video(output, pictures(8 + n if n != 3 else 50)),
            lambda output, sound=sound: add_audio(output, np.stack([sound, sound / 2]), 22050),
        )
        np.save(root / "clips" / f"{n}.npy", rng.normal(size=(3 + n % 3, 3)))
        rows.append(
            {
                "id": f"../{n} é/{'x' * 150}.a",
                "split": ("train", "train", "val")[n % 3],
                "label": "ab"[n % 2],
                "clip": f"clips/{n}.mkv" if n % 6 else "",
                "lips": f"clips/{n}.npy" if n % 4 else "",
                "title": f"title {n}" if n % 3 else "",
            }
        )
    whole = root / "clips" / "3.mkv"
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    rows[7]["clip"], rows[8]["clip"], rows[9]["label"] = "clips/typo.mkv", "../elsewhere.mkv", "c"
    np.save(root / "clips" / "10.npy", np.full((2, 3), np.nan))
    with (root / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="session")
def config(clips: Path) -> DataConfig:
    return DataConfig(manifest=str(clips / "clips.csv"), modalities=MODALITIES, labels=["a", "b"])


@pytest.fixture(scope="session")
def shards(config: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exact") / "shards"
    prepare(config, out, EXACT)
    return out
