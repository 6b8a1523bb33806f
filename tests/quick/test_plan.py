"""What is decided of each form that labelled samples come in; nothing is trained."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from locomt.quick.plan import Plan, make_plan
from locomt.quick.sizes import Runs
from media_clips import add_audio, add_video, pictures, tone, write_audio, write_clip


def table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def planned(source: Path, task: str | None = None) -> Plan:
    out = source.parent / "out"
    return make_plan(source, out, minutes=10, runs=Runs(), task=task, seed=0)


def sounds(folder: Path, count: int) -> list[str]:
    names = [f"{number}.wav" for number in range(count)]
    for number, name in enumerate(names):
        write_audio(folder / name, np.stack([tone(0.4, 16000, 300.0 + 50 * number)]), 16000)
    return names


def kinds(plan: Plan) -> dict[str, str]:
    return {name: source.kind for name, source in plan.recipe.data.modalities.items()}


def test_texts_of_a_parquet_file_and_amounts(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    content = {"title": [f"{n} times a word" for n in range(20)], "label": [n / 3 for n in range(20)], "age": [7] * 20}
    parquet.write_table(arrow.table(content), tmp_path / "all.parquet")
    plan = planned(tmp_path / "all.parquet")
    assert plan.recipe.data.task == "regression"
    assert kinds(plan) == {"title": "text"}  # a column of numbers is no text
    assert plan.recipe.data.modalities["title"].max_length == 32
    assert plan.labels == ()
    assert "one model" in plan.lines(10)[2]


def test_several_labels_of_a_text(tmp_path: Path) -> None:
    rows = [(f"text {n}", ("a;b", "a", ";", "b")[n % 4]) for n in range(24)]
    plan = planned(table(tmp_path / "t.csv", ("text", "label"), rows))
    assert plan.recipe.data.task == "multilabel"
    assert plan.labels == ("a", "b")


def test_ratings_of_sounds_by_six_speakers(tmp_path: Path) -> None:
    rows = [(name, n % 3, f"speaker {n // 4}") for n, name in enumerate(sounds(tmp_path, 24))]
    plan = planned(table(tmp_path / "t.csv", ("file", "label", "group"), rows), "ordinal")
    assert plan.recipe.data.task == "ordinal"
    assert kinds(plan) == {"audio": "audio"}
    assert plan.counts == {"train": 16, "val": 4, "test": 4}  # a speaker is in one split alone, and none is empty
    with (tmp_path / "out" / "manifest.csv").open() as file:
        assert len({(row["group"], row["split"]) for row in csv.DictReader(file)}) == 6


def test_events_keep_their_times(tmp_path: Path) -> None:
    rows = [(name, "dog@0.1-0.2" if n % 2 else ";") for n, name in enumerate(sounds(tmp_path, 12))]
    plan = planned(table(tmp_path / "t.csv", ("file", "label"), rows))
    assert plan.recipe.data.task == "temporal"
    assert plan.recipe.data.seconds == pytest.approx(0.4)
    assert plan.recipe.train.augment.speed == 0
    assert plan.recipe.train.augment.gain > 0


def test_pictures_in_the_layout_of_datasets(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("validation", 4), ("test", 2)):
        (tmp_path / "set" / split).mkdir(parents=True)
        for n in range(count):
            Image.new("RGB", (40, 30), (100 * (n % 2), 80, 90)).save(tmp_path / "set" / split / f"{n}.png")
        rows = [(f"{n}.png", ("dark", "red")[n % 2]) for n in range(count)]
        table(tmp_path / "set" / split / "metadata.csv", ("file_name", "label"), rows)
    plan = planned(tmp_path / "set")
    assert kinds(plan) == {"image": "image"}
    assert plan.counts == {"train": 8, "val": 4, "test": 2}
    assert not plan.recipe.train.augment.changes_sound


def test_feature_files_in_folders_of_classes(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for n in range(25):
            np.save(tmp_path / "set" / name / f"{n}.npy", np.ones((9 if n == 24 else 3, 5)))
    plan = planned(tmp_path / "set")
    (source,) = plan.recipe.data.modalities.values()
    assert (source.kind, source.dim, source.standardise) == ("features", 5, True)
    assert source.max_length == 9  # of the longest, wherever it stands


def test_a_caution_where_a_text_says_what_belongs_together(tmp_path: Path) -> None:
    rows = [(f"text {n}", f"speaker {n % 3}", n % 2) for n in range(24)]
    (line,) = planned(table(tmp_path / "t.csv", ("text", "speaker", "label"), rows)).doubts
    assert line.startswith("column 'speaker' is read as a text, of which 24 samples have 3 different ones")


def test_a_first_clip_without_sound_is_not_all_there_is(tmp_path: Path) -> None:
    sound = np.stack([tone(0.4, 16000)])
    streams = [lambda output: add_video(output, pictures(4)), lambda output: add_audio(output, sound, 16000)]
    for number in range(10):
        (tmp_path / "set" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        write_clip(tmp_path / "set" / "ab"[number % 2] / f"{number}.mkv", *streams[: 1 if number == 0 else 2])
    plan = planned(tmp_path / "set")
    assert kinds(plan) == {"video": "video", "audio": "audio"}
    assert plan.recipe.data.modalities["audio"].on_no_stream == "missing"
