"""Labelled samples as they come, their task and their splits."""

import json
from collections import Counter
from pathlib import Path

import pytest

from locomt.data.row import Row
from locomt.quick.source import read_source
from locomt.quick.splits import with_splits
from locomt.quick.task import guess_task


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def samples(labels: dict[str, int], **cells: str) -> list[Row]:
    names = [label for label, count in labels.items() for _ in range(count)]
    return [Row(n, {"id": f"{n:03d}", "split": "", "label": name, **cells}) for n, name in enumerate(names)]


def test_folder_of_classes_has_no_splits_yet(tmp_path: Path) -> None:
    rows = read_source(touch(tmp_path, "cat/1.mp4", "dog/1.mp4", "dog/2.mp4"))
    assert [(row.label, row.split, row.cells["clip"]) for row in rows] == [
        ("cat", "", "cat/1.mp4"), ("dog", "", "dog/1.mp4"), ("dog", "", "dog/2.mp4")
    ]  # fmt: skip


def test_folders_of_splits_are_kept(tmp_path: Path) -> None:
    rows = read_source(touch(tmp_path, "Training/cat/1.mp4", "test/cat/2.mp4"))
    assert sorted(row.split for row in rows) == ["test", "train"]


def test_table_needs_a_label_alone(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("clip,label\na.mp4,cat\nb.mp4,dog\nc.mp4,\n")
    rows = read_source(table)
    assert [(row.id, row.split, row.label) for row in rows] == [("000001", "", "cat"), ("000002", "", "dog")]
    table.write_text("clip,kind\na.mp4,cat\n")
    with pytest.raises(ValueError, match="expected a column 'label', got 'clip', 'kind'"):
        read_source(table)


def test_layout_of_datasets_at_the_top_and_in_splits(tmp_path: Path) -> None:
    top = touch(tmp_path / "one", "clips/1.mp4")
    (top / "metadata.csv").write_text("file_name,label\nclips/1.mp4,cat\n")
    (row,) = read_source(top)
    assert (row.label, row.split, row.cells["clip"]) == ("cat", "", "clips/1.mp4")
    split = touch(tmp_path / "two", "train/1.mp4", "validation/1.mp4")
    for name in ("train", "validation"):
        (split / name / "metadata.jsonl").write_text(json.dumps({"file_name": "1.mp4", "label": "cat"}) + "\n")
    rows = read_source(split)
    assert [(row.split, row.cells["clip"]) for row in rows] == [("train", "train/1.mp4"), ("val", "validation/1.mp4")]


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["cat", "dog"], "multiclass"),
        (["1", "2", "3"], "multiclass"),
        (["cat;dog", "cat", ";"], "multilabel"),
        (["0.5", "1", "-2"], "regression"),
        ([str(n) for n in range(50)], "regression"),
        ([*(str(n) for n in range(50)), "35.1e55", "slip"], "regression"),
        (["dog@0.5-1.25", "dog@0-1; cat@1-2", ";"], "temporal"),
    ],
)
def test_task_is_told_from_the_form_of_labels(labels: list[str], task: str) -> None:
    assert guess_task(labels) == task


def test_every_class_is_in_every_split_as_far_as_it_has_samples() -> None:
    rows = with_splits(samples({"a": 10, "b": 20, "rare": 1, "pair": 2}), "multiclass", 0)
    counts = Counter((row.label, row.split) for row in rows)
    assert [counts["a", name] for name in ("train", "val", "test")] == [6, 2, 2]
    assert [counts["b", name] for name in ("train", "val", "test")] == [12, 4, 4]
    assert counts["rare", "train"] == 1
    assert counts["pair", "train"] == 1


def test_splits_depend_on_the_seed_alone() -> None:
    rows = samples({"a": 20, "b": 20})
    chosen = {seed: [row.split for row in with_splits(rows, "multiclass", seed)] for seed in (0, 1)}
    assert chosen[0] == [row.split for row in with_splits(rows, "multiclass", 0)]
    assert chosen[0] != chosen[1]
    by_id = {row.id: row.split for row in with_splits(rows[::-1], "multiclass", 0)}
    assert [by_id[row.id] for row in rows] == chosen[0]


def test_groups_stay_together() -> None:
    rows = [Row(n, row.cells | {"group": str(n // 4)}) for n, row in enumerate(samples({"a": 40, "b": 40}))]
    splits: dict[str, set[str]] = {}
    for row in with_splits(rows, "multiclass", 0):
        splits.setdefault(row.cells["group"], set()).add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "val", "test"}


def test_numbers_are_spread_over_the_splits() -> None:
    rows = with_splits(samples({str(n / 2): 1 for n in range(100)}), "regression", 0)
    means = {
        name: sum(values) / len(values)
        for name in ("train", "val", "test")
        if (values := [float(row.label) for row in rows if row.split == name])
    }
    assert len(means) == 3
    assert max(means.values()) - min(means.values()) < 2


def test_splits_that_are_given_stay() -> None:
    rows = samples({"a": 20})
    rows = [Row(row.number, row.cells | {"split": "test" if n < 5 else "train"}) for n, row in enumerate(rows)]
    after = with_splits(rows, "multiclass", 0)
    assert [row.split for row in after[:5]] == ["test"] * 5
    assert Counter(row.split for row in after[5:]) == {"train": 12, "val": 3}
