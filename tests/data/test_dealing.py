"""Samples dealt out to splits by the recipe: shares, classes, groups, and what the manifest says all the same."""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from locomt.data import DataConfig, label_list
from locomt.data.dealing import read_rows
from locomt.data.errors import ManifestError
from locomt.data.overview import manifest_notes
from locomt.require import ConfigError

FEATURES = {"f": {"kind": "features", "column": "f", "dim": 2, "max_length": 9}}
NAMES = ("train", "val", "test")


def config(folder: Path, rows: list[dict[str, str]], **changes: Any) -> DataConfig:
    """Of a manifest with these columns, and ids and features beside them."""
    lines = [",".join(("id", "f", *rows[0]))]
    lines += [",".join((f"s{n:03}", "x", *row.values())) for n, row in enumerate(rows)]
    (folder / "m.csv").write_text("\n".join(lines))
    return DataConfig(**{"manifest": str(folder / "m.csv"), "modalities": FEATURES, "split": {}, **changes})


def speakers(count: int, classes: str = "ab", each: int = 3) -> list[dict[str, str]]:
    """Every speaker says every class some times."""
    return [{"label": c, "speaker": f"v{n}"} for n in range(count) for c in classes for _ in range(each)]


def splits_of(data: DataConfig, column: str) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in read_rows(data):
        found[row.cells[column]].add(row.split)
    return found


def test_shares_and_classes_without_a_column_of_splits(tmp_path: Path) -> None:
    rows = [{"label": label} for label in "a" * 40 + "b" * 20]
    data = config(tmp_path, rows, split={"val": 0.1, "test": 0.25})
    counts = Counter((row.label, row.split) for row in read_rows(data))
    assert [counts["a", name] for name in NAMES] == [26, 4, 10]
    assert [counts["b", name] for name in NAMES] == [13, 2, 5]
    assert label_list(data) == ["a", "b"]
    assert [row.id for row in read_rows(data)] == [f"s{n:03}" for n in range(60)]


def test_groups_are_whole_and_splits_near_their_shares(tmp_path: Path) -> None:
    data = config(tmp_path, speakers(10, "abc"), group="speaker")
    found = splits_of(data, "speaker")
    assert all(len(splits) == 1 for splits in found.values())
    assert Counter(split for splits in found.values() for split in splits) == {"train": 6, "val": 2, "test": 2}
    torn = splits_of(config(tmp_path, speakers(10, "abc")), "speaker")
    assert any(len(splits) > 1 for splits in torn.values())


def test_groups_of_one_class_leave_every_class_in_every_split(tmp_path: Path) -> None:
    rows = [{"label": "ab"[n // 10], "speaker": f"v{n}"} for n in range(20) for _ in range(3)]
    counts = Counter((row.label, row.split) for row in read_rows(config(tmp_path, rows, group="speaker")))
    assert {name: (counts["a", name], counts["b", name]) for name in NAMES} == {
        "train": (18, 18), "val": (6, 6), "test": (6, 6)
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_no_split_is_left_empty_and_rows_without_a_group_stand_alone(tmp_path: Path, seed: int) -> None:
    sizes = {"v0": 90, "v1": 3, "v2": 3, "v3": 3, "": 2}
    rows = [{"label": "ab"[n % 2], "group": name} for name, count in sizes.items() for n in range(count)]
    data = config(tmp_path, rows, split={"val": 0.01, "test": 0.01, "seed": seed})
    assert {row.split for row in read_rows(data)} == set(NAMES)
    assert all(len(splits) == 1 for name, splits in splits_of(data, "group").items() if name)


def test_numbers_and_several_labels_are_spread_over_groups(tmp_path: Path) -> None:
    rows = [{"label": str(n), "speaker": f"v{n}"} for n in range(50) for _ in range(2)]
    data = config(tmp_path, rows, task="regression", group="speaker")
    means = {name: [float(row.label) for row in read_rows(data) if row.split == name] for name in NAMES}
    assert all(abs(sum(values) / len(values) - 24.5) < 4 for values in means.values())
    rows = [{"label": "a;b" if n % 5 else "rare", "speaker": f"v{n}"} for n in range(50) for _ in range(2)]
    data = config(tmp_path, rows, task="multilabel", group="speaker")
    assert {row.split for row in read_rows(data) if row.label == "rare"} == set(NAMES)


def test_the_seed_decides_and_the_order_of_rows_does_not(tmp_path: Path) -> None:
    rows = speakers(12)
    kept = {}
    for seed in (0, 1):
        data = config(tmp_path, rows, split={"seed": seed}, group="speaker")
        kept[seed] = {row.id: row.split for row in read_rows(data)}
    assert kept[0] != kept[1]
    head, *lines = (tmp_path / "m.csv").read_text().splitlines()
    (tmp_path / "m.csv").write_text("\n".join([head, *lines[::-1]]))
    assert {row.id: row.split for row in read_rows(data)} == kept[1]


def test_a_split_of_the_manifest_may_stay(tmp_path: Path) -> None:
    rows = [{"label": "ab"[n % 2], "split": "test" if n < 10 else "train"} for n in range(50)]
    data = config(tmp_path, rows, split={"val": 0.25, "test": None})
    found = [row.split for row in read_rows(data)]
    assert found[:10] == ["test"] * 10
    assert Counter(found[10:]) == {"train": 30, "val": 10}
    assert Counter(row.split for row in read_rows(config(tmp_path, rows)))["test"] == 10  # of all 50, a fifth
    with pytest.raises(ManifestError, match=r"keeps the rows of split 'test' .* no column 'split'"):
        read_rows(config(tmp_path, speakers(4), split={"test": None}))


def test_a_table_says_where_each_sample_is(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("id,split\ns000,train\ns001,val\ns002,test\n")
    data = config(tmp_path, speakers(2, each=1), split={"table": str(tmp_path / "splits.csv")})
    assert [row.split for row in read_rows(data)] == ["train", "val", "test", ""]
    (tmp_path / "splits.csv").write_text("id,split\nother,train\n")
    with pytest.raises(ManifestError, match=r"not one id of it is in .*splits.csv"):
        read_rows(data)


def test_what_cannot_be_dealt_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"expected 3 groups or more in column 'speaker'.*, got 2"):
        read_rows(config(tmp_path, speakers(2), group="speaker"))
    with pytest.raises(ManifestError, match=r"expected a column 'speakers'.*did you mean 'speaker'"):
        read_rows(config(tmp_path, speakers(4), group="speakers"))
    with pytest.raises(ManifestError, match=r"expected a column 'split'.* data\.split"):
        read_rows(config(tmp_path, speakers(4), split=None))
    for split, told in (
        ({"val": 0.6, "test": 0.4}, "val 0.6 and test 0.4 leave nothing"),
        ({"val": "all"}, "data.split.val: expected a share"),
        ({"vall": 0.1}, "did you mean 'val'"),
    ):
        with pytest.raises(ConfigError, match=re.escape(told)):
            config(tmp_path, speakers(4), split=split)
    with pytest.raises(ConfigError, match="splits of three names"):
        config(tmp_path, speakers(4), test_split="val")


def test_notes_tell_what_was_dealt_and_warn_of_speakers_that_are_torn(tmp_path: Path) -> None:
    notes = manifest_notes(config(tmp_path, speakers(6), group="speaker"))
    dealt = next(note for note in notes if "data.split" in note)
    assert "groups of column 'speaker' whole" in dealt
    assert "'train' 24" in dealt
    assert not any("several splits" in note for note in notes)
    notes = manifest_notes(config(tmp_path, speakers(6)))
    assert any("groups (column 'speaker') lie in several splits" in note and "data.group" in note for note in notes)
